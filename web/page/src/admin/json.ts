/**
 * JSON as a person types it: where it is wrong, in words, or how it looks when laid out well.
 * Nothing is turned into values, so numbers keep all of their digits.
 */

export interface Fault {
  /** Place in the text, from 0. */
  readonly at: number;
  /** From 1. */
  readonly line: number;
  readonly column: number;
  readonly words: string;
}

export type Scanned = { readonly fault: Fault } | { readonly pretty: string };

const DEEPEST = 200;
const NUMBER = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y;
const WORD = /[A-Za-z_$][\w$]*/y;
const ESCAPE = /\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})/y;
const LITERALS = new Set(["true", "false", "null"]);
const QUOTES = new Set(["'", "`", "“", "”", "‘", "’"]);
const INDENT = "  ";

/** Look through a document: one JSON object. */
export function scan(text: string): Scanned {
  try {
    return { pretty: new Scanner(text).document() };
  } catch (error) {
    if (error instanceof Wrong) return { fault: { ...placeOf(text, error.at), words: error.message } };
    throw error;
  }
}

/** Line and column of a place in *text*. */
export function placeOf(text: string, at: number): Omit<Fault, "words"> {
  const before = text.slice(0, at);
  const start = before.lastIndexOf("\n") + 1;
  return { at, line: before.split("\n").length, column: at - start + 1 };
}

class Wrong extends Error {
  readonly at: number;

  constructor(at: number, words: string) {
    super(words);
    this.at = at;
  }
}

class Scanner {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  document(): string {
    this.#skip();
    if (this.#peek() !== "{") throw this.#wrong("A document is an object: it begins with {.");
    const pretty = this.#value(0);
    this.#skip();
    if (this.#at < this.#text.length) throw this.#wrong("The document has ended before this.");
    return pretty;
  }

  #peek(): string {
    return this.#text[this.#at] ?? "";
  }

  #wrong(words: string, at = this.#at): Wrong {
    return new Wrong(at, words);
  }

  #skip(): void {
    while (" \t\n\r".includes(this.#peek()) && this.#at < this.#text.length) this.#at += 1;
  }

  #value(depth: number): string {
    if (depth > DEEPEST) throw this.#wrong("This is too deep.");
    switch (this.#peek()) {
      case "{":
        return this.#members(depth, "{", "}");
      case "[":
        return this.#members(depth, "[", "]");
      case '"':
        return this.#string();
      default:
        return this.#plain();
    }
  }

  /** The members of an object or a list. */
  #members(depth: number, open: "{" | "[", close: "}" | "]"): string {
    const began = this.#at, names = new Set<string>(), found: string[] = [];
    this.#at += 1;
    this.#skip();
    if (this.#peek() === close) {
      this.#at += 1;
      return open + close;
    }
    for (;;) {
      const name = open === "{" ? this.#name(names) : "";
      found.push(name + this.#value(depth + 1));
      this.#skip();
      const comma = this.#at;
      if (this.#peek() === close) break;
      if (this.#at >= this.#text.length) throw this.#wrong(`The text ends, but ${this.#opened(open, began)} is still open.`);
      if (this.#peek() !== ",") throw this.#wrong(`A comma or ${close} is missing before this.`);
      this.#at += 1;
      this.#skip();
      if (this.#peek() === close) throw this.#wrong(`No comma stands before ${close}.`, comma);
    }
    this.#at += 1;
    const line = `\n${INDENT.repeat(depth)}`;
    return `${open}${line}${INDENT}${found.join(`,${line}${INDENT}`)}${line}${close}`;
  }

  #opened(open: string, at: number): string {
    return `the ${open} of line ${String(placeOf(this.#text, at).line)}`;
  }

  #name(names: Set<string>): string {
    const at = this.#at;
    if (this.#peek() !== '"') {
      throw this.#wrong(this.#peek() === "" ? "The text ends here, where a name should be."
        : "A name in double quotes belongs here.");
    }
    const quoted = this.#string();
    const name = JSON.parse(quoted) as string;
    if (names.has(name)) throw this.#wrong(`${quoted} stands here twice.`, at);
    names.add(name);
    this.#skip();
    if (this.#peek() !== ":") throw this.#wrong(`A colon is missing after ${quoted}.`);
    this.#at += 1;
    this.#skip();
    return `${quoted}: `;
  }

  #string(): string {
    const began = this.#at;
    this.#at += 1;
    for (;;) {
      const here = this.#peek();
      if (here === '"') break;
      if (here === "" || here === "\n" || here === "\r") {
        throw this.#wrong("This text has no closing quote in its line.", began);
      }
      if (here < " ") throw this.#wrong("A tab or another control character stands in a text as \\t or \\u0009.");
      if (here === "\\") this.#at += this.#match(ESCAPE)?.length ?? this.#refuseEscape();
      else this.#at += 1;
    }
    this.#at += 1;
    return this.#text.slice(began, this.#at);
  }

  #refuseEscape(): never {
    throw this.#wrong('After \\ comes one of " \\ / b f n r t, or u and four hexadecimal digits.');
  }

  #plain(): string {
    const number = this.#match(NUMBER);
    if (number !== null) {
      this.#at += number.length;
      if (/[\w.+]/.test(this.#peek())) throw this.#wrong("A number is not written so.");
      return number;
    }
    const word = this.#match(WORD);
    if (word !== null && LITERALS.has(word)) {
      this.#at += word.length;
      return word;
    }
    if (word !== null) throw this.#wrong(`${word} is neither true, false nor null. Text stands in double quotes.`);
    if (this.#peek() === "") throw this.#wrong("The text ends here, where a value should be.");
    if (QUOTES.has(this.#peek())) throw this.#wrong('Text stands in plain double quotes: ".');
    throw this.#wrong("A value belongs here.");
  }

  #match(pattern: RegExp): string | null {
    pattern.lastIndex = this.#at;
    return pattern.exec(this.#text)?.[0] ?? null;
  }
}
