// To be imported before all else: it throws where Node is too old for the rest.

const [major = 0, minor = 0] = process.versions.node.split('.').map(Number)

if (major < 20 || (major === 20 && minor < 19))
  throw new Error(`turnlog needs Node 20.19 or later, and this is Node ${process.versions.node}`)
