import type { Json, JsonObject } from '../../json.ts'

// What is read here is what others have stored: nothing is certain of it but that it is JSON.

export function isObject(value: Json | undefined): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** The object, or an empty one. */
export function objectOf(value: Json | undefined): JsonObject {
  return isObject(value) ? value : {}
}

/** The objects of a list, or none. */
export function objectsOf(value: Json | undefined): readonly JsonObject[] {
  return Array.isArray(value) ? (value as readonly Json[]).filter(isObject) : []
}

/** The text, or an empty one. */
export function stringOf(value: Json | undefined): string {
  return typeof value === 'string' ? value : ''
}
