import { z } from 'zod'
import { idOf } from '../arguments.ts'
import { InvalidRequest } from './failure.ts'

// What requests ask with.

/** A list in an answer has at most so many entries. */
export const PAGE = 100

/** An id of a user or a session. */
export const id = z.string().transform((text, context) => {
  try {
    return idOf('id', text)
  } catch (error) {
    context.addIssue({ code: 'custom', message: (error as Error).message })
    return z.NEVER
  }
})
/** A whole number. */
export const whole = (least: number) =>
  z
    .string()
    .regex(/^\d{1,15}$/, 'not a whole number')
    .transform(Number)
    .pipe(z.int().min(least, `less than ${least}`))
/** Which session. */
export const named = { user: id, session: id }
/** A version, or a date. */
export const point = z.union(
  [whole(1), z.iso.datetime({ offset: true }).transform((text) => new Date(text))],
  'neither a version nor a date'
)
/** A part of a list. */
export const windowed = {
  from: whole(0).optional(),
  count: whole(1)
    .prefault('40')
    .transform((count) => Math.min(count, PAGE))
}
/** What was asked with, as the schema has it. @throws {InvalidRequest} that names the parameter */
export function parsed<S extends z.ZodType>(schema: S, value: unknown): z.output<S> {
  const result = schema.safeParse(value)
  if (result.success) return result.data
  const [issue] = result.error.issues
  const name = issue?.path.map((key) => String(key)).join('.') ?? ''
  throw new InvalidRequest(`${name === '' ? 'The request' : name}: ${issue?.message ?? 'cannot be read'}`)
}
