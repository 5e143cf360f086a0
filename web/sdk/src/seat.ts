/** How a viewer comes to its seat, and to the tickets for its sockets: at whichever gateway. */

import type { Api } from "./api";
import { Places, originOf, type Shelf } from "./places";
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
/** Homes that are followed one after another, before the next gateway is asked. */
const MOST_FOLLOWED = 3;

type Ask = (api: Api) => Promise<SeatAnswer>;

export class Seat {
  readonly #own: Api;
  readonly #options: SeatOptions;
  readonly #places: Places;
  #asked: Promise<SeatAnswer> | null;
  #kept: { readonly ticket: string; readonly at: number } | null = null;
  /** One resume ticket is there at a time: who asks waits for who asked before. */
  #turn: Promise<unknown> = Promise.resolve();

  constructor(api: Api, options: SeatOptions, shelf: Shelf | null = tabShelf()) {
    this.#own = api;
    this.#options = options;
    this.#asked = options.seat;
    this.#places = new Places(api.base, options.session, shelf);
  }

  /** The gateway that drives the session, as far as is known. */
  get api(): Api {
    return this.#at(this.#places.home);
  }

  /** By code, else by cookie, else by the person's token. */
  async first(): Promise<SeatAnswer> {
    const { session, code } = this.#options;
    const asked = this.#asked;
    this.#asked = null;
    if (code !== null) {
      try {
        return await this.#follow(this.#own, (api) => api.takeSeat(session, code), asked);
      } catch (error) {
        // A spent code and a cookie from before: a reload of the very first page.
        if (!(error instanceof Problem) || error.status !== 401) throw error;
        return await this.again().catch(() => {
          throw error;
        });
      }
    }
    return await this.#inTurn(() => this.#round(asked));
  }

  /** The same seat with fresh tickets, at the home or at any gateway that has become it. */
  again(): Promise<SeatAnswer> {
    return this.#inTurn(() => this.#round(null));
  }

  /** The ticket that came with the seat while it is fresh, once; then others. */
  async mediaTicket(): Promise<string> {
    const kept = this.#kept;
    this.#kept = null;
    if (kept !== null && performance.now() - kept.at < TICKET_FRESH_MS) return kept.ticket;
    if (this.#places.isOwn(this.#places.home)) {
      try {
        return (await this.#own.ticket(this.#options.session, "media")).ticket;
      } catch (error) {
        if (!(error instanceof Problem) || error.status !== 421) throw error;
      }
    }
    const answer = await this.again();
    this.#kept = null;
    return answer.media_ticket;
  }

  /** Take the ticket that the gateway sent in place of the last. */
  renewed(ticket: string, gateways: readonly string[] | undefined): void {
    this.#places.renewed(ticket, gateways);
  }

  /** End the session for everybody. */
  end(): Promise<void> {
    return this.#inTurn(async () => {
      const { session, token } = this.#options;
      const { home } = this.#places;
      const isByTicket = !this.#places.isOwn(home) && token() === null;
      await this.#at(home).end(session, isByTicket ? this.#places.takeTicket() : null);
    });
  }

  /** Ask every gateway once, the home first; the last refusal is what it came to. */
  async #round(asked: Promise<SeatAnswer> | null): Promise<SeatAnswer> {
    let refusal: unknown = null;
    for (const place of this.#places.all()) {
      const early = this.#places.isOwn(place) ? asked : null;
      try {
        return await this.#follow(this.#at(place), (api) => this.#take(api), early);
      } catch (error) {
        refusal = worse(refusal, error);
      }
    }
    throw refusal;
  }

  /** *ask* at *api*, and where that names another home, there. */
  async #follow(api: Api, ask: Ask, asked: Promise<SeatAnswer> | null = null): Promise<SeatAnswer> {
    let [at, answer] = [api, asked];
    for (let followed = 0; ; followed += 1) {
      try {
        return this.#keep(await (answer ?? ask(at)), at.base);
      } catch (error) {
        const home = error instanceof Problem && error.home ? originOf(error.home) : null;
        if (home === null || home === at.base || followed >= MOST_FOLLOWED) throw error;
        [at, answer] = [this.#at(home), null];
      }
    }
  }

  /** The seat at *api*: by cookie where it is known, by the resume ticket, by the person. */
  async #take(api: Api): Promise<SeatAnswer> {
    const { session, token } = this.#options;
    let refusal: unknown = null;
    if (this.#places.isOwn(api.base)) {
      try {
        return await api.seat(session);
      } catch (error) {
        if (!mayTryOtherwise(error)) throw error;
        refusal = error;
      }
    }
    for (let ticket = this.#places.takeTicket(); ticket; ticket = this.#places.takeTicket()) {
      try {
        return await api.resume(session, ticket);
      } catch (error) {
        refusal = error;
        if (error instanceof Problem && error.status === 401) continue;
        this.#places.putBack(ticket);
        if (!mayTryOtherwise(error)) throw error;
        break;
      }
    }
    if (token() !== null) return await api.takeSeat(session, null);
    throw refusal ?? unknownHere();
  }

  async #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const before = this.#turn;
    const mine = before.catch(() => undefined).then(work);
    this.#turn = mine.catch(() => undefined);
    return await mine;
  }

  #at(place: string): Api {
    return this.#places.isOwn(place) ? this.#own : this.#own.at(place);
  }

  #keep(answer: SeatAnswer, place: string): SeatAnswer {
    this.#places.answered(place, answer.resume_ticket, answer.gateways);
    this.#kept = { ticket: answer.media_ticket, at: performance.now() };
    return answer;
  }
}

/** Nobody of that name is known there, or not by what was shown: other proof may do. */
function mayTryOtherwise(error: unknown): boolean {
  return error instanceof Problem && error.status !== 0 && error.status !== 421 && !error.passing;
}

/** What a round came to: an answer, unless one that is silent now may know more than a stranger. */
function worse(before: unknown, now: unknown): unknown {
  if (before === null) return now;
  const [first, second] = isPassing(now) ? [before, now] : [now, before];
  const isStranger = first instanceof Problem && (first.status === 401 || first.status === 403);
  return isStranger && isPassing(second) ? second : first;
}

function isPassing(error: unknown): boolean {
  return error instanceof Problem && error.passing;
}

function unknownHere(): Problem {
  return new Problem({
    code: "unauthenticated",
    status: 401,
    title: "This link is not valid any more",
    detail: "Sign in, or ask for a new link.",
  });
}

function tabShelf(): Shelf | null {
  try {
    return window.sessionStorage;
  } catch {
    return null;
  }
}
