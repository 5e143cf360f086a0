/** Errors that say what happened and what to do, from RFC 9457 answers and from the network. */

export interface ProblemFields {
  readonly code: string;
  readonly status: number;
  readonly title: string;
  readonly detail: string;
  /** Of 421: the gateway to ask instead. */
  readonly home?: string | null;
}

export class Problem extends Error implements ProblemFields {
  readonly code: string;
  readonly status: number;
  readonly title: string;
  readonly detail: string;
  readonly home: string | null;

  constructor(fields: ProblemFields) {
    super(fields.detail || fields.title);
    this.name = "Problem";
    this.code = fields.code;
    this.status = fields.status;
    this.title = fields.title;
    this.detail = fields.detail;
    this.home = fields.home ?? null;
  }

  /** Worth another try without a person doing anything. */
  get passing(): boolean {
    return this.status === 0 || this.status === 429 || this.status >= 500;
  }
}

const TITLES: Readonly<Record<number, readonly [string, string]>> = {
  0: ["The server does not answer", "Check your network; the page keeps trying."],
  400: ["The request was not understood", "Reload the page; it may be older than the server."],
  401: ["This link is not valid any more", "Sign in, or ask for a new link."],
  403: ["You may not do this", "Ask an administrator for the right to open this session."],
  404: ["There is no such session", "It has ended, or it belongs to somebody else."],
  409: ["Somebody was faster", "Reload the page to see how things stand."],
  410: ["This session has ended", "Start a new one."],
  413: ["That was too much at once", "Send less, then try again."],
  421: ["Another gateway holds this session", "Open the link that the session's owner sent you."],
  422: ["Something in the request is wrong", "Correct it and try again."],
  429: ["Too many requests", "Wait a moment, then try again."],
  503: ["Nothing is free right now", "Wait until a session ends, then try again."],
};

/** Words for a status when the server sent none. */
export function wordsFor(status: number): readonly [string, string] {
  const fallback: readonly [string, string] =
    status >= 500
      ? ["The server has a problem", "Try again; if it stays, ask the operator to read the log."]
      : ["That did not work", "Reload the page and try again."];
  return TITLES[status] ?? fallback;
}

export function problemOf(status: number, body: unknown): Problem {
  const [title, detail] = wordsFor(status);
  const said = typeof body === "object" && body !== null ? (body as Record<string, unknown>) : {};
  const text = (key: string): string => (typeof said[key] === "string" ? (said[key] as string) : "");
  return new Problem({
    code: text("code") || `http-${String(status)}`,
    status,
    title,
    detail: text("detail") || text("message") || detail,
    home: text("home") || null,
  });
}

export function networkProblem(error: unknown): Problem {
  if (error instanceof Problem) return error;
  const [title, detail] = wordsFor(0);
  return new Problem({ code: "unreachable", status: 0, title, detail });
}
