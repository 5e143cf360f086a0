/** How a viewer comes to its seat, and to the tickets for its sockets. */

import type { Api } from "./api";
import { Problem } from "./problem";
import type { SeatAnswer } from "./wire";

export interface SeatOptions {
  readonly session: string;
  /** One-time join code; without it the cookie of an earlier visit or the token must do. */
  readonly code: string | null;
  /** A seat asked for already, in the same way; used once. */
  readonly seat: Promise<SeatAnswer> | null;
  readonly token: () => string | null;
}

/** Tickets live for 60 s; one older than this is not worth a try. */
const TICKET_FRESH_MS = 45_000;

export class Seat {
  readonly #api: Api;
  readonly #options: SeatOptions;
  #asked: Promise<SeatAnswer> | null;
  #kept: { readonly ticket: string; readonly at: number } | null = null;

  constructor(api: Api, options: SeatOptions) {
    this.#api = api;
    this.#options = options;
    this.#asked = options.seat;
  }

  /** By code, else by cookie, else by the person's token. */
  async first(): Promise<SeatAnswer> {
    const { session, code, token } = this.#options;
    const asked = this.#asked;
    this.#asked = null;
    if (code !== null) {
      try {
        return this.#keep(await (asked ?? this.#api.takeSeat(session, code)));
      } catch (error) {
        // A spent code and a cookie from before: a reload of the very first page.
        if (!(error instanceof Problem) || error.status !== 401) throw error;
        return await this.again().catch(() => {
          throw error;
        });
      }
    }
    try {
      return this.#keep(await (asked ?? this.#api.seat(session)));
    } catch (error) {
      if (!(error instanceof Problem) || error.status === 0 || token() === null) throw error;
      return this.#keep(await this.#api.takeSeat(session, null));
    }
  }

  /** By the cookie, with fresh tickets. */
  async again(): Promise<SeatAnswer> {
    return this.#keep(await this.#api.seat(this.#options.session));
  }

  /** The ticket that came with the seat while it is fresh, once; then others. */
  async mediaTicket(): Promise<string> {
    const kept = this.#kept;
    this.#kept = null;
    if (kept !== null && performance.now() - kept.at < TICKET_FRESH_MS) return kept.ticket;
    return (await this.#api.ticket(this.#options.session, "media")).ticket;
  }

  #keep(answer: SeatAnswer): SeatAnswer {
    this.#kept = { ticket: answer.media_ticket, at: performance.now() };
    return answer;
  }
}
