/** Server-sent events, cut by hand: `EventSource` sends no token. */

export interface SentEvent {
  readonly id: string;
  readonly event: string;
  readonly data: string;
}

/** Cuts a stream of server-sent events; pieces may end anywhere. */
export class EventParser {
  #rest = "";

  push(text: string): SentEvent[] {
    const blocks = (this.#rest + text).replaceAll("\r\n", "\n").split("\n\n");
    this.#rest = blocks.pop() ?? "";
    return blocks.map((block) => {
      let id = "", event = "", data = "";
      for (const line of block.split("\n")) {
        if (line.startsWith("id:")) id = line.slice(3).trim();
        if (line.startsWith("event:")) event = line.slice(6).trim();
        if (line.startsWith("data:")) data += (data && "\n") + line.slice(5).trimStart();
      }
      return { id, event, data };
    }).filter((event) => event.data !== "");
  }
}

/** Every event of *answer*, until it ends. */
export async function* eventsOf(answer: Response): AsyncGenerator<SentEvent> {
  if (answer.body === null) return;
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  const parser = new EventParser();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    yield* parser.push(value);
  }
}
