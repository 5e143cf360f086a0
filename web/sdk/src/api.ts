/** The gateway's REST interface, as much of it as the viewer and its page use. */

import { networkProblem, problemOf } from "./problem";
import type {
  ApplicationPage,
  NetworkView,
  PrincipalView,
  RegionPage,
  SeatAnswer,
  SessionCreate,
  SessionCreated,
  SessionPage,
  SessionView,
  TokenAnswer,
} from "./wire";

const DEADLINE_MS = 10_000;
/** One of several gateways that is cut off must not keep the others from being asked. */
const SOON_MS = 5000;
/** What counts once cannot be asked for again: where the answer is slow, it is waited for. */
const ONCE_MS = 40_000;

const RESUME = "Downstage-Resume";

interface CallOptions {
  readonly headers?: Record<string, string>;
  /** Another bearer token than the person's; null sends none. */
  readonly bearer?: string | null;
  /** Gives the question up. */
  readonly signal?: AbortSignal | null;
  readonly deadlineMs?: number;
}

export class Api {
  readonly #base: URL;
  readonly #token: () => string | null;
  readonly #isElsewhere: boolean;

  /**
   * *base* is the gateway's address; *token* gives the bearer token of the person, if any.
   * *isElsewhere*: no cookie of ours is known there.
   */
  constructor(
    base: string | URL, token: () => string | null = () => null, isElsewhere = false,
  ) {
    this.#base = new URL(base);
    this.#token = token;
    this.#isElsewhere = isElsewhere;
  }

  get base(): string {
    return this.#base.origin;
  }

  /** The same at another gateway. */
  at(base: string): Api {
    return new Api(base, this.#token, true);
  }

  /** Exchange a join code, or the bearer token, for a seat and its cookie. */
  takeSeat(
    session: string, code: string | null, signal: AbortSignal | null = null,
  ): Promise<SeatAnswer> {
    const body = code === null ? {} : { code };
    const more = code === null ? { signal } : { signal, deadlineMs: ONCE_MS };
    return this.#call("POST", `/v1/sessions/${encodeURIComponent(session)}/seat`, body, more);
  }

  /** The seat that the cookie holds, and the cookie alone; each answer brings fresh tickets. */
  seat(session: string, signal: AbortSignal | null = null): Promise<SeatAnswer> {
    const path = `/v1/sessions/${encodeURIComponent(session)}/seat`;
    return this.#call("GET", path, undefined, { bearer: null, signal });
  }

  /** The seat that a resume ticket stands for; the ticket is spent. */
  resume(
    session: string, ticket: string, signal: AbortSignal | null = null,
  ): Promise<SeatAnswer> {
    const path = `/v1/sessions/${encodeURIComponent(session)}/seat`;
    const headers = { [RESUME]: ticket };
    return this.#call("GET", path, undefined, { bearer: null, headers, signal });
  }

  ticket(session: string, use: "signalling" | "media"): Promise<{ ticket: string }> {
    return this.#call("POST", `/v1/sessions/${encodeURIComponent(session)}/tickets`, { use });
  }

  session(session: string): Promise<SessionView> {
    return this.#call("GET", `/v1/sessions/${encodeURIComponent(session)}`);
  }

  sessions(): Promise<SessionPage> {
    return this.#call("GET", "/v1/sessions?limit=50");
  }

  applications(): Promise<ApplicationPage> {
    return this.#call("GET", "/v1/applications");
  }

  /** Servers to look for a path with, before there is a session. */
  network(): Promise<NetworkView> {
    return this.#call("GET", "/v1/network");
  }

  /** Where sessions can be started. */
  regions(): Promise<RegionPage> {
    return this.#call("GET", "/v1/regions");
  }

  create(body: SessionCreate, key: string): Promise<SessionCreated> {
    return this.#call("POST", "/v1/sessions", body, { headers: { "Idempotency-Key": key } });
  }

  /** End it; *ticket*: a resume ticket, where no cookie and no token speaks for the seat. */
  async end(session: string, ticket: string | null = null): Promise<void> {
    const path = `/v1/sessions/${encodeURIComponent(session)}`;
    const more = ticket === null ? {} : { headers: { [RESUME]: ticket }, bearer: null };
    await this.#call("DELETE", path, undefined, more);
  }

  /** End a session in the way the Omniverse web client does: *verb* on its streaming interface. */
  async endAt(backend: string, verb: string, session: string): Promise<void> {
    const url = `${backend}/session-service/session/${encodeURIComponent(session)}`;
    await this.#call(verb, url, {});
  }

  login(username: string, password: string): Promise<TokenAnswer> {
    return this.#call("POST", "/v1/auth/login", { username, password });
  }

  /** Who the bearer token stands for. */
  me(): Promise<PrincipalView> {
    return this.#call("GET", "/v1/auth/me");
  }

  setup(code: string, username: string, password: string): Promise<TokenAnswer> {
    return this.#call("POST", "/v1/auth/setup", { code, username, password });
  }

  /** Address of one of the session's sockets. */
  socketUrl(session: string, use: "signalling" | "media"): string {
    const url = new URL(`/v1/sessions/${encodeURIComponent(session)}/${use}`, this.#base);
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    return url.href;
  }

  async #call<T>(
    method: string, path: string, body?: unknown, more: CallOptions = {},
  ): Promise<T> {
    const token = more.bearer === undefined ? this.#token() : more.bearer;
    const deadline = more.deadlineMs ?? (this.#isElsewhere ? SOON_MS : DEADLINE_MS);
    const all: Record<string, string> = { Accept: "application/json", ...more.headers };
    if (token !== null) all["Authorization"] = `Bearer ${token}`;
    if (body !== undefined) all["Content-Type"] = "application/json";
    const init: RequestInit = {
      method,
      headers: all,
      credentials: this.#isElsewhere ? "omit" : "include",
      cache: "no-store",
      signal: either(AbortSignal.timeout(deadline), more.signal),
    };
    if (body !== undefined) init.body = JSON.stringify(body);
    let answer: Response;
    try {
      answer = await fetch(new URL(path, this.#base), init);
    } catch (error) {
      throw networkProblem(error);
    }
    const said: unknown = await answer.json().catch(() => null);
    if (!answer.ok) throw problemOf(answer.status, said);
    return said as T;
  }
}

/** `AbortSignal.any`, which not every browser has that is ours. */
function either(first: AbortSignal, second: AbortSignal | null | undefined): AbortSignal {
  if (!second) return first;
  const both = new AbortController();
  for (const signal of [first, second]) {
    if (signal.aborted) both.abort();
    signal.addEventListener("abort", () => {
      both.abort();
    }, { once: true });
  }
  return both.signal;
}

/** The two sub-protocols that open a socket with *ticket*, which so never stands in a URL. */
export function ticketProtocols(ticket: string): string[] {
  return ["downstage.v1", `downstage.ticket.${ticket}`];
}
