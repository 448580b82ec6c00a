// What may differ on the way down: what belongs to the hop, and what the proxy says of itself.
const ADDED = /^(x-memory-.*|x-accel-buffering|connection|keep-alive|transfer-encoding)$/;

// The response headers that came from the upstream; repeated ones repeated where the runtime tells them apart.
export function shown(headers) {
  return [...headers].filter(([name]) => !ADDED.test(name));
}
