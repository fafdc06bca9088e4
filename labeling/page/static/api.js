/** The server's answers, as promises. */

/**
 * @typedef {{choice: string, seq: number}} Answer
 * @typedef {{index: number, id: string, answer: Answer | null, votes: number,
 *   held_by: string | null}} Item
 * @typedef {{id: string, title: string, dataset: string, total: number, classes: string[],
 *   may_add_classes: boolean, no_class: string[], votes: number, has_neighbours: boolean,
 *   has_scores: boolean, out: string}} Task
 * @typedef {{index: number, id: string, scores: {name: string, percentile: number}[],
 *   neighbours: {index: number, distance: number, label: string | null}[]}} Details
 */

const PATIENCE = 10_000; // milliseconds until a request counts as lost

/** The server said no. Anything else that goes wrong is a lost connection. */
export class Refusal extends Error {
  /**
   * @param {number} status
   * @param {any} body
   */
  constructor(status, body) {
    super(body?.error ?? `the server answered ${status}`);
    this.status = status;
    this.body = body;
  }

  /** Whether the same request would be refused again; a server in trouble may recover. */
  get isFinal() {
    return this.status < 500 && ![401, 403, 408, 421, 429].includes(this.status);
  }

  /** Whether another task is served at this address now. */
  get isElsewhere() {
    return this.status === 409 && typeof this.body?.task === "string";
  }
}

/**
 * @param {unknown} error
 * @returns {string} what went wrong, for people
 */
export const reason = (error) =>
  error instanceof Refusal ? error.message : "the server does not answer; try again";

/**
 * @param {string} path
 * @param {object} [body] makes it a POST
 * @returns {Promise<any>}
 */
async function request(path, body) {
  const response = await fetch(path, {
    method: body ? "POST" : "GET",
    headers: body && { "Content-Type": "application/json" },
    body: body && JSON.stringify(body),
    signal: AbortSignal.timeout(PATIENCE),
  });
  if (response.ok) return response.json();
  const text = await response.text();
  let said;
  try {
    said = JSON.parse(text);
  } catch {
    said = { error: text };
  }
  throw new Refusal(response.status, said);
}

export const api = {
  /** @returns {Promise<Task>} */
  task: () => request("api/task"),
  /**
   * @param {{task: string, annotator: string}} who
   * @returns {Promise<{items: Item[], done: number, total: number, n_classes: number}>}
   */
  items: (who) => request(`api/items?${new URLSearchParams(who)}`),
  /**
   * @param {{task: string, annotator: string, from: number | null, count: number,
   *   skip: number[]}} wish
   * @returns {Promise<{indices: number[], done: number, n_classes: number}>}
   */
  claim: (wish) => request("api/claim", wish),
  /**
   * @param {{task: string, annotator: string, index: number, choice: string | null,
   *   replaces: number | null, key: string}} answer
   * @returns {Promise<{seq: number, done: number, total: number, n_classes: number}>}
   */
  answer: (answer) => request("api/answers", answer),
  /**
   * @param {{task: string, annotator: string, name: string}} wish
   * @returns {Promise<{classes: string[]}>}
   */
  addClass: (wish) => request("api/classes", wish),
  /**
   * @param {number} index
   * @returns {Promise<Details>}
   */
  details: (index) => request(`api/details/${index}`),
  /**
   * @param {{task: string, annotator: string}} who
   * @returns {Promise<{wrote: string, labelled: number, awaited: number}>}
   */
  finish: (who) => request("api/finish", who),
};

/**
 * @param {number} index
 * @param {number} side pixels, at most
 */
export const imageAddress = (index, side) => `images/${index}?side=${side}`;
