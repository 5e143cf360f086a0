/** Where a seat may be taken: the gateways of one database, and the ticket that counts at each. */

export interface Stay {
  /** Address of the gateway that answered last. */
  readonly home: string;
  readonly gateways: readonly string[];
  /** The newest last. Earlier ones may be spent, or not: an answer that never came tells nothing. */
  readonly tickets: readonly string[];
}

/** `sessionStorage`, or what stands in for it. */
export type Shelf = Pick<Storage, "getItem" | "setItem" | "removeItem">;

const PREFIX = "downstage.seat.";
const MOST_TICKETS = 3;

/** Remembers, for this tab alone, where the seat was and what takes it again: for a reload. */
export class Places {
  readonly #own: string;
  readonly #key: string;
  readonly #shelf: Shelf | null;
  #stay: Stay;

  /** *own* is the address that the page was given; the cookie of the seat is known there. */
  constructor(own: string, session: string, shelf: Shelf | null) {
    this.#own = originOf(own) ?? own;
    this.#key = PREFIX + session;
    this.#shelf = shelf;
    this.#stay = this.#read() ?? { home: this.#own, gateways: [], tickets: [] };
  }

  get home(): string {
    return this.#stay.home;
  }

  isOwn(place: string): boolean {
    return place === this.#own;
  }

  /** The home first, then the others in turn, each once. */
  all(): string[] {
    return [...new Set([this.#stay.home, ...this.#stay.gateways, this.#own])];
  }

  /** The newest ticket; null: there is none. It counts once, wherever it is shown first. */
  get ticket(): string | null {
    return this.#stay.tickets.at(-1) ?? null;
  }

  /** That one was taken, or is worth nothing. */
  spent(ticket: string): void {
    const tickets = this.#stay.tickets.filter((kept) => kept !== ticket);
    this.#keep({ ...this.#stay, tickets });
  }

  /** A gateway answered, and said what is to be known from now on. */
  answered(
    home: string, ticket: string | null | undefined, gateways: readonly string[] | undefined,
  ): void {
    const known = (gateways ?? []).flatMap((url) => originOf(url) ?? []);
    this.#keep({ home, gateways: known, tickets: extended(this.#stay.tickets, ticket) });
  }

  /** Another ticket in place of the last, which is about to expire. */
  renewed(ticket: string, gateways: readonly string[] | undefined): void {
    this.answered(this.#stay.home, ticket, gateways ?? this.#stay.gateways);
  }

  #keep(stay: Stay): void {
    this.#stay = stay;
    try {
      // With one gateway alone the cookie is all: nothing is written down.
      if (stay.gateways.length < 2) this.#shelf?.removeItem(this.#key);
      else this.#shelf?.setItem(this.#key, JSON.stringify(stay));
    } catch {
      // No storage: a reload finds the seat by its cookie, or not at all.
    }
  }

  #read(): Stay | null {
    try {
      const found: unknown = JSON.parse(this.#shelf?.getItem(this.#key) ?? "null");
      return isStay(found) ? found : null;
    } catch {
      return null;
    }
  }
}

function extended(tickets: readonly string[], ticket: string | null | undefined): string[] {
  return [...tickets, ...(ticket == null ? [] : [ticket])].slice(-MOST_TICKETS);
}

/** The origin of an address of ours; null where it is none. */
export function originOf(url: string): string | null {
  try {
    const { protocol, origin } = new URL(url);
    return protocol === "http:" || protocol === "https:" ? origin : null;
  } catch {
    return null;
  }
}

function isStay(found: unknown): found is Stay {
  if (typeof found !== "object" || found === null) return false;
  const { home, gateways, tickets } = found as Record<string, unknown>;
  return (
    typeof home === "string" &&
    originOf(home) === home &&
    Array.isArray(gateways) &&
    gateways.every((url) => typeof url === "string" && originOf(url) === url) &&
    Array.isArray(tickets) &&
    tickets.every((ticket) => typeof ticket === "string")
  );
}
