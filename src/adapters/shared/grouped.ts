import type { JsonObject } from '../../json.ts'
import type { Piece } from './pieces.ts'

/** Parts of a message of a framework, one after the other, that are one message here. */
export interface Group {
  readonly kind: 'said' | 'thought' | 'output'
  readonly pieces: Piece[]
  /** Parts that are no piece. */
  readonly others: JsonObject[]
  /** What the part of each piece has beside it. */
  readonly beside: JsonObject[]
}

/**
 * Parts in their order, with what was said, what was thought and results of tools apart. `pieceOf` gives the piece that a part is, and what of the part is not in it;
 * `isThought` tells of parts that are no piece, as what was thought may be hidden.
 */
export function grouped(
  parts: readonly JsonObject[],
  pieceOf: (part: JsonObject) => readonly [piece: Piece | undefined, beside: JsonObject],
  isThought: (part: JsonObject) => boolean = () => false
): Group[] {
  const groups: Group[] = []
  for (const part of parts) {
    const [piece, beside] = pieceOf(part)
    const isReasoning = piece ? piece.kind === 'reasoning' : isThought(part)
    const kind = piece?.kind === 'output' ? 'output' : isReasoning ? 'thought' : 'said'
    const last = groups.at(-1)
    const group: Group = last?.kind === kind ? last : { kind, pieces: [], others: [], beside: [] }
    if (group !== last) groups.push(group)
    if (piece) {
      group.pieces.push(piece)
      group.beside.push(beside)
    } else group.others.push(part)
  }
  return groups
}
