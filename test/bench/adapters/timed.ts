/** An object whose methods are timed: `spent()` is for how many ms any of them was under way, each moment counted once. */
export function timed<T extends object>(object: T): { readonly timed: T; spent(): number } {
  let running = 0
  let since = 0
  let total = 0
  const begin = (): void => {
    if (running++ === 0) since = performance.now()
  }
  const end = (): void => {
    if (--running === 0) total += performance.now() - since
  }
  const proxy = new Proxy(object, {
    get(target, key) {
      const value: unknown = Reflect.get(target, key, target)
      if (typeof value !== 'function' || key === 'constructor') return value
      return (...args: unknown[]) => {
        begin()
        let result: unknown
        try {
          result = Reflect.apply(value, target, args)
        } catch (error) {
          end()
          throw error
        }
        if (!(result instanceof Promise)) {
          end()
          return result
        }
        return result.finally(end)
      }
    }
  })
  return { timed: proxy, spent: () => total }
}
