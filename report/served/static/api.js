/** Talking to the server: every answer, or an error whose message is the server's sentence. */

/**
 * @typedef {{name: string, n: number, version: string,
 *   thumbnail: {height: number, width: number, columns: number, most: number},
 *   classes: {name: string, count: number}[], unknown: number,
 *   metrics: {name: string, reads: string}[],
 *   splits: {name: string, count: number, strategy: string, oracle: boolean,
 *     labelled_by_people: boolean}[],
 *   predicted: string[], map: {told: string} | null, no_map: string}} About
 */

/** @param {string} path @param {Record<string, string | number>} [words] */
export function address(path, words = {}) {
  const query = new URLSearchParams();
  for (const [key, value] of Object.entries(words)) if (value !== "") query.set(key, String(value));
  return query.size ? `${path}?${query}` : path;
}

/**
 * @param {string} path
 * @param {Record<string, string | number>} [words]
 * @param {AbortSignal} [signal]
 */
async function get(path, words, signal) {
  let response;
  try {
    response = await fetch(address(path, words), { signal });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new Error("The server does not answer; start `fmsel report --serve` again.");
  }
  if (response.ok) return response;
  const type = response.headers.get("content-type") ?? "";
  throw new Error(type.includes("json") ? (await response.json()).error : await response.text());
}

/**
 * @param {string} path
 * @param {Record<string, string | number>} [words]
 * @param {AbortSignal} [signal]
 */
export async function getJson(path, words, signal) {
  return (await get(path, words, signal)).json();
}

/** @param {string} path @param {Record<string, string | number>} [words] */
export async function getBytes(path, words) {
  return (await get(path, words)).arrayBuffer();
}
