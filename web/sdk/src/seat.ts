/** How a viewer comes to its seat, and to the tickets for its sockets: at whichever gateway. */

import type { Api } from "./api";
import { Places, originOf, type Shelf } from "./places";
import { Problem } from "./problem";
import { askRound } from "./round";
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
/** Homes that are followed one after another. */
const MOST_FOLLOWED = 3;
/** A gateway that says nothing for so long is not waited for: the next is asked beside it. */
const PATIENCE_MS = 600;
/** The same where its silence is why we ask. */
const HURRY_MS = 100;

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
    return await this.#inTurn(() => this.#round(asked, false));
  }

  /**
   * The same seat with fresh tickets, at the home or at any gateway that has become it.
   *
   * *isHurried*: the home has fallen silent.
   */
  again(isHurried = false): Promise<SeatAnswer> {
    return this.#inTurn(() => this.#round(null, isHurried));
  }

  /** The ticket that came with the seat while it is fresh, once; then others. */
  async mediaTicket(isHurried = false): Promise<string> {
    const kept = this.#kept;
    this.#kept = null;
    const isFresh = kept !== null && performance.now() - kept.at < TICKET_FRESH_MS;
    if (isFresh && !isHurried) return kept.ticket;
    if (this.#places.isOwn(this.#places.home) && !isHurried) {
      try {
        return (await this.#own.ticket(this.#options.session, "media")).ticket;
      } catch (error) {
        // Another drives it now, or this one is gone: whoever has the seat gives the ticket.
        if (!(error instanceof Problem) || ![0, 421].includes(error.status)) throw error;
      }
    }
    const answer = await this.again(isHurried);
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
      const ticket = isByTicket ? this.#places.ticket : null;
      if (ticket !== null) this.#places.spent(ticket);
      await this.#at(home).end(session, ticket);
    });
  }

  /** Ask the gateways, the home first, until one has the seat. */
  async #round(asked: Promise<SeatAnswer> | null, isHurried: boolean): Promise<SeatAnswer> {
    let early = asked;
    const [place, answer] = await askRound({
      places: this.#places.all(),
      patienceMs: isHurried ? HURRY_MS : PATIENCE_MS,
      ask: async (at, signal): Promise<[string, SeatAnswer]> => {
        const before = this.#places.isOwn(at) ? early : null;
        if (before !== null) early = null;
        return [at, await (before ?? this.#take(this.#at(at), signal))];
      },
      homeOf,
      worse,
    });
    return this.#keep(answer, place);
  }

  /** *ask* at *api*, and where that names another home, there. */
  async #follow(api: Api, ask: Ask, asked: Promise<SeatAnswer> | null = null): Promise<SeatAnswer> {
    let [at, answer] = [api, asked];
    for (let followed = 0; ; followed += 1) {
      try {
        return this.#keep(await (answer ?? ask(at)), at.base);
      } catch (error) {
        const home = homeOf(error);
        if (home === null || home === at.base || followed >= MOST_FOLLOWED) throw error;
        [at, answer] = [this.#at(home), null];
      }
    }
  }

  /** The seat at *api*: by cookie where it is known, by the resume ticket, by the person. */
  async #take(api: Api, signal: AbortSignal): Promise<SeatAnswer> {
    const { session, token } = this.#options;
    let refusal: unknown = null;
    if (this.#places.isOwn(api.base)) {
      try {
        return await api.seat(session, signal);
      } catch (error) {
        if (!mayTryOtherwise(error)) throw error;
        refusal = error;
      }
    }
    for (let ticket = this.#places.ticket; ticket; ticket = this.#places.ticket) {
      try {
        const answer = await api.resume(session, ticket, signal);
        this.#places.spent(ticket);
        return answer;
      } catch (error) {
        refusal = error;
        if (error instanceof Problem && error.status === 401) {
          this.#places.spent(ticket);
          continue;
        }
        if (!mayTryOtherwise(error)) throw error;
        break;
      }
    }
    if (token() !== null) return await api.takeSeat(session, null, signal);
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

function homeOf(error: unknown): string | null {
  return error instanceof Problem && error.home ? originOf(error.home) : null;
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
