const BITS = 5
const WIDTH = 1 << BITS
const MASK = WIDTH - 1

/** A node of the tree: `WIDTH` nodes, or at the lowest level `WIDTH` items. */
type Node = unknown[]

/**
 * An immutable list whose prefixes and branches share what they have in common: pushing, replacing and taking a prefix
 * never copy what came before, and old lists stay as they are.
 *
 * A persistent vector: full blocks of 32 items in a tree, the last items in a `tail`. The tail is shared by the lists
 * that grew from one another; each sees only its own length of it.
 *
 * @see https://hypirion.com/musings/understanding-persistent-vector-pt-1
 */
export class MessageLog<M> {
  static #empty = new MessageLog<never>(0, BITS, [], [])

  readonly length: number
  /** Bits of an index above the lowest level: the tree is `shift / BITS` levels high. */
  readonly #shift: number
  readonly #root: Node
  readonly #tail: M[]

  private constructor(length: number, shift: number, root: Node, tail: M[]) {
    this.length = length
    this.#shift = shift
    this.#root = root
    this.#tail = tail
  }

  /** The list of no items. */
  static empty<M>(): MessageLog<M> {
    return MessageLog.#empty
  }

  /** The list of `items`, which are copied. */
  static of<M>(items: readonly M[]): MessageLog<M> {
    let log = MessageLog.empty<M>()
    for (const item of items) log = log.push(item)
    return log
  }

  /** The item at `index`, from 0; `undefined` beyond the end. */
  get(index: number): M | undefined {
    return index >= 0 && index < this.length ? this.#block(index)[index & MASK] : undefined
  }

  /** The index of the last item that `matches`; -1 where there is none. Looks from the end. */
  findLastIndex(matches: (item: M) => boolean): number {
    for (let start = this.#tailStart(), end = this.length; start >= 0; end = start, start -= WIDTH) {
      const block = this.#block(start)
      for (let i = end - 1; i >= start; i--) if (matches(block[i & MASK]!)) return i
    }
    return -1
  }

  /** With `item` at the end. */
  push(item: M): MessageLog<M> {
    const inTail = this.length - this.#tailStart()
    if (inTail < WIDTH && this.length > 0) {
      // Whoever comes first may go on in the shared tail; a second branch takes a copy.
      const tail = this.#tail.length === inTail ? this.#tail : this.#tail.slice(0, inTail)
      tail.push(item)
      return new MessageLog(this.length + 1, this.#shift, this.#root, tail)
    }
    if (this.length === 0) return new MessageLog(1, BITS, [], [item])
    const full = this.length - WIDTH
    const isTreeFull = full >>> BITS >= 1 << this.#shift
    const shift = isTreeFull ? this.#shift + BITS : this.#shift
    const root = setBlock(isTreeFull ? [this.#root] : this.#root, shift, full, this.#tail)
    return new MessageLog(this.length + 1, shift, root, [item])
  }

  /** With `item` in place of what is at `index`, which must be in the list. */
  replace(index: number, item: M): MessageLog<M> {
    const tailStart = this.#tailStart()
    const isInTail = index >= tailStart
    const block = this.#block(index).slice(0, isInTail ? this.length - tailStart : WIDTH)
    block[index & MASK] = item
    if (isInTail) return new MessageLog(this.length, this.#shift, this.#root, block)
    return new MessageLog(this.length, this.#shift, replaceBlock(this.#root, this.#shift, index, block), this.#tail)
  }

  /** The first `length` items; all where there are fewer. */
  take(length: number): MessageLog<M> {
    if (length >= this.length) return this
    if (length <= 0) return MessageLog.#empty
    return new MessageLog(length, this.#shift, this.#root, this.#block(length - 1))
  }

  /** A new array of the items from `start` on, by default all. */
  toArray(start = 0): M[] {
    if (start >= this.length) return []
    const blocks: M[][] = []
    const tailStart = this.#tailStart()
    for (let i = start & ~MASK; i < tailStart; i += WIDTH) blocks.push(this.#block(i))
    blocks.push(this.#tail.slice(0, this.length - tailStart))
    // concat copies whole blocks at once: several times faster than item by item.
    const items = ([] as M[]).concat(...blocks)
    return start & MASK ? items.slice(start & MASK) : items
  }

  /** How many items are in full blocks: what this list shares with those that grow from it. */
  get settled(): number {
    return this.#tailStart()
  }

  /** Whether the first `length` items, which are in full blocks of both, are the same blocks: never wrong where it says yes. */
  startsAs(other: MessageLog<M>, length: number): boolean {
    let [a, b] = [this.#root, other.#root]
    let level = Math.min(this.#shift, other.#shift)
    for (let above = this.#shift; above > level; above -= BITS) a = a[0] as Node
    for (let above = other.#shift; above > level; above -= BITS) b = b[0] as Node
    for (let left = length; a !== b && left > 0; level -= BITS) {
      const whole = left >>> level
      for (let i = 0; i < whole; i++) if (a[i] !== b[i]) return false
      left -= whole << level
      if (left > 0) [a, b] = [a[whole] as Node, b[whole] as Node]
    }
    return true
  }

  #tailStart(): number {
    return this.length === 0 ? 0 : (this.length - 1) & ~MASK
  }

  #block(index: number): M[] {
    if (index >= this.#tailStart()) return this.#tail
    let node = this.#root
    for (let level = this.#shift; level > BITS; level -= BITS) node = node[(index >>> level) & MASK] as Node
    return node[(index >>> BITS) & MASK] as M[]
  }
}

/**
 * Makes arrays of lists one after the other, as a session is read again and again while it grows: what two of them begin with is kept as one array, which is
 * copied at once.
 */
export class ArrayMaker<M> {
  #last = MessageLog.empty<M>()
  // Its beginning. Never given out: V8 copies frozen arrays item by item.
  #kept: readonly M[] = []

  /** A new array of all items of `log`. */
  arrayOf(log: MessageLog<M>): M[] {
    const { settled } = log
    if (settled < LEAST_KEPT) return log.toArray()
    const last = this.#last
    if (log !== last) this.#last = log
    const { length } = this.#kept
    if (length === 0 || length > settled || !log.startsAs(last, length)) {
      // Who reads a list once need not pay for the next.
      const isNext = last.settled >= LEAST_KEPT && last.settled <= settled && log.startsAs(last, last.settled)
      this.#kept = isNext ? last.toArray().slice(0, last.settled) : []
    } else if (settled - length >= LEAST_KEPT)
      this.#kept = this.#kept.concat(log.toArray(length).slice(0, settled - length))
    return this.#kept.length === 0 ? log.toArray() : this.#kept.concat(log.toArray(this.#kept.length))
  }
}

/** Of shorter lists an array is made as fast; and the array that is kept is made anew after so many more. */
const LEAST_KEPT = 1_024

// The tree with `block` as its last: what stood to the right, left over from a longer list, is dropped.
function setBlock(node: Node, level: number, index: number, block: unknown[]): Node {
  const slot = (index >>> level) & MASK
  const copy = node.slice(0, slot)
  copy.push(level === BITS ? block : setBlock((node[slot] ?? []) as Node, level - BITS, index, block))
  return copy
}

function replaceBlock(node: Node, level: number, index: number, block: unknown[]): Node {
  const slot = (index >>> level) & MASK
  const copy = node.slice()
  copy[slot] = level === BITS ? block : replaceBlock(node[slot] as Node, level - BITS, index, block)
  return copy
}
