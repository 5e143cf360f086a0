/** The picture over a WebSocket, decoded by WebCodecs: where no UDP path is to be had. */

import { ticketProtocols } from "./api";
import { OpusPlayer } from "./audio";
import { AUDIO, HEADER_SIZE, LIKELY_CODEC, VIDEO, codecOf, readHeader } from "./h264";
import type { MediaHeader } from "./h264";
import type { InputMessage } from "./messages";
import { Painter } from "./painter";
import { Silence, type Patience } from "./silence";
import { Latency, isSameClock, wallMs, type RawStats } from "./stats";
import { parseControl, pictureBox, type Transport, type TransportHooks } from "./transport";
import type { StreamInfo } from "./wire";

/** Acknowledge at most this often; the streamer needs at least ten a second. */
const ACK_EVERY_MS = 40;
/** With more frames than this in the decoder no acknowledgement is sent: the streamer slows. */
const DECODER_FULL = 4;
/** With more than this it has lost the race: start anew at a key frame. */
const DECODER_LOST = 30;
const PING_EVERY_MS = 1000;
/** Without any answer for this long the socket is dead, whatever TCP says. */
const SILENT_MS = 6000;
/** Another way is looked for after this, or after so many beats of the streamer's. */
const SUSPECT_MS = 1200;
const BEATS_MISSED = 2.4;
const MOST_FAULTS = 3;

/** Whether this browser, in this context, can decode frames from a socket. */
export function canWebCodecs(): boolean {
  return typeof VideoDecoder !== "undefined";
}

export class WebSocketTransport implements Transport {
  readonly kind = "websocket" as const;
  readonly picture: HTMLElement;
  readonly #hooks: TransportHooks;
  readonly #socket: WebSocket;
  readonly #painter: Painter;
  readonly #sound: OpusPlayer;
  readonly #captured = new Map<number, number>();
  readonly #glass = new Latency();
  readonly #isSameClock: boolean;
  readonly #ticker: ReturnType<typeof setInterval>;
  #decoder: VideoDecoder | null = null;
  #codec = LIKELY_CODEC;
  #needsKey = true;
  #faults = 0;
  #decoded = 0;
  #bytes = 0;
  #packets = 0;
  #rttMs: number | null = null;
  #pings = new Map<number, number>();
  #pingCount = 0;
  #pingedAt = performance.now();
  #unansweredSince: number | null = null;
  #newest = -1;
  #acked = -1;
  #ackTimer: ReturnType<typeof setTimeout> | undefined;
  #ackedAt = 0;
  #hasPicture = false;
  #isClosed = false;
  #silence: Silence | null = null;
  readonly #patience: Patience;

  constructor(url: string, ticket: string, hooks: TransportHooks, patience: Patience) {
    this.#hooks = hooks;
    this.#patience = patience;
    this.#isSameClock = isSameClock(new URL(url).hostname);
    this.picture = pictureBox(document.createElement("canvas"));
    this.#painter = new Painter(this.picture, {
      painted: (frame) => {
        this.#onPainted(frame);
      },
      resized: (size) => {
        if (!this.#isClosed) hooks.resized(size);
      },
    });
    this.#sound = new OpusPlayer((sound) => {
      hooks.sound(sound);
    });
    this.#socket = new WebSocket(url, ticketProtocols(ticket));
    this.#socket.binaryType = "arraybuffer";
    this.#socket.onopen = () => {
      hooks.ready();
      this.#ping();
    };
    this.#socket.onmessage = (event: MessageEvent<ArrayBuffer | string>) => {
      this.#onMessage(event.data);
    };
    this.#socket.onclose = (event) => {
      console.info(`downstage: media socket closed: ${String(event.code)} ${event.reason}`);
      this.#fail("The connection to the server broke");
    };
    this.#configure(LIKELY_CODEC);
    this.#ticker = setInterval(() => {
      this.#ping();
    }, PING_EVERY_MS);
  }

  get audioStream(): MediaStream | null {
    return this.#sound.stream;
  }

  send(message: InputMessage): void {
    if (this.#socket.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(message));
  }

  openChannel(): null {
    return null;
  }

  setMuted(muted: boolean): void {
    this.#sound.setMuted(muted);
  }

  gesture(): void {
    this.#sound.gesture();
  }

  stats(): Promise<RawStats> {
    return Promise.resolve({
      decodedFrames: this.#decoded,
      droppedFrames: this.#painter.dropped,
      bytes: this.#bytes,
      packets: this.#packets,
      packetsLost: 0,
      rttMs: this.#rttMs,
      ...this.#painter.size,
      decoder: `WebCodecs ${this.#codec} · ${this.#painter.way}`,
      glassMs: this.#isSameClock ? this.#glass.p50 : null,
      jitterMs: null,
    });
  }

  close(): void {
    this.#isClosed = true;
    clearInterval(this.#ticker);
    clearTimeout(this.#ackTimer);
    this.#silence?.stop();
    this.#socket.onclose = this.#socket.onmessage = this.#socket.onopen = null;
    this.#socket.close(1000);
    if (this.#decoder?.state === "configured") this.#decoder.close();
    this.#painter.close();
    this.#sound.close();
  }

  #onMessage(data: ArrayBuffer | string): void {
    this.#unansweredSince = null;
    if (this.#silence?.heard()) this.#hooks.heard();
    if (typeof data === "string") {
      this.#onControl(data);
      return;
    }
    const header = readHeader(data);
    if (!header) return;
    this.#bytes += data.byteLength;
    this.#packets += 1;
    const payload = new Uint8Array(data, HEADER_SIZE);
    if (header.kind === VIDEO) this.#onVideo(header, payload);
    else if (header.kind === AUDIO) this.#sound.push(payload, header.sequence);
  }

  #onControl(data: string): void {
    const message = parseControl(data);
    if (!message) return;
    if (message[0] === "s") this.#listen((message[1] as StreamInfo).beat_ms);
    if (message[0] === "p") {
      if (message[1] === 0) return; // a beat: it answers no ping of ours
      const sent = this.#pings.get(Number(message[1]));
      this.#pings.clear();
      if (sent !== undefined) this.#rttMs = Math.round((performance.now() - sent) * 10) / 10;
      return;
    }
    this.#hooks.control(message);
  }

  /** From here on silence is told from a still picture; not where the streamer does not beat. */
  #listen(beat: number | undefined): void {
    if (this.#silence !== null || typeof beat !== "number" || !(beat > 0)) return;
    const most = Math.max(SUSPECT_MS, beat * BEATS_MISSED);
    this.#silence = new Silence(() => this.#patience.limit(most), () => {
      this.#patience.alarm();
      this.#hooks.silent();
    });
  }

  #onVideo(header: MediaHeader, payload: Uint8Array<ArrayBuffer>): void {
    this.#newest = header.sequence;
    const decoder = this.#readyDecoder(header, payload);
    if (decoder) {
      const timestamp = header.sequence * 1000;
      if (this.#captured.size > 256) this.#captured.clear();
      this.#captured.set(timestamp, header.capturedAt);
      decoder.decode(
        new EncodedVideoChunk({ type: header.isKey ? "key" : "delta", timestamp, data: payload }),
      );
    }
    this.#ackSoon();
  }

  /** The decoder if this frame can go into it; otherwise a key frame has been asked for. */
  #readyDecoder(header: MediaHeader, payload: Uint8Array): VideoDecoder | null {
    if (header.isKey) this.#onKey(codecOf(payload) ?? this.#codec);
    else if (this.#queued > DECODER_LOST) this.#startAnew();
    return this.#needsKey || this.#decoder?.state !== "configured" ? null : this.#decoder;
  }

  #onKey(codec: string): void {
    if (codec !== this.#codec || this.#decoder?.state !== "configured") this.#configure(codec);
    this.#needsKey = false;
  }

  #startAnew(): void {
    console.info(`downstage: the decoder is behind by ${String(this.#queued)} frames; new start`);
    this.#decoder?.reset();
    this.#configure(this.#codec);
    this.#askForKey();
  }

  get #queued(): number {
    return this.#decoder?.decodeQueueSize ?? 0;
  }

  #configure(codec: string): void {
    this.#codec = codec;
    if (!this.#decoder || this.#decoder.state === "closed") {
      this.#decoder = new VideoDecoder({
        output: (frame) => {
          this.#decoded += 1;
          this.#faults = 0;
          this.#painter.paint(frame);
        },
        error: (error) => {
          this.#onFault(error);
        },
      });
    }
    this.#decoder.configure({ codec, optimizeForLatency: true });
  }

  #onFault(error: DOMException): void {
    console.warn("downstage: decoder failed:", error.message);
    this.#faults += 1;
    this.#decoder = null;
    if (this.#faults > MOST_FAULTS) this.#fail("This browser cannot decode the picture");
    else this.#askForKey();
  }

  #askForKey(): void {
    this.#needsKey = true;
    this.send(["i"]);
  }

  #onPainted(frame: VideoFrame): void {
    const capturedAt = this.#captured.get(frame.timestamp);
    this.#captured.delete(frame.timestamp);
    if (capturedAt !== undefined && this.#isSameClock) this.#glass.add(wallMs() - capturedAt);
    if (this.#hasPicture) return;
    this.#hasPicture = true;
    this.#hooks.firstPicture();
  }

  #ackSoon(): void {
    if (this.#ackTimer !== undefined) return;
    const due = this.#ackedAt + ACK_EVERY_MS - performance.now();
    if (due <= 0) this.#ack();
    else this.#ackTimer = setTimeout(() => {
      this.#ackTimer = undefined;
      this.#ack();
    }, due);
  }

  #ack(): void {
    if (this.#isClosed || this.#newest === this.#acked) return;
    this.#ackedAt = performance.now();
    if (this.#queued > DECODER_FULL) {
      this.#ackSoon();
      return;
    }
    this.#acked = this.#newest;
    this.send(["a", this.#newest]);
  }

  #ping(): void {
    const now = performance.now();
    // A page that slept has not read yet what came meanwhile.
    if (now - this.#pingedAt > PING_EVERY_MS * 3) this.#unansweredSince = null;
    this.#pingedAt = now;
    if (now - (this.#unansweredSince ?? now) > SILENT_MS) {
      this.#fail("The server is silent");
      return;
    }
    this.#unansweredSince ??= now;
    this.#pingCount += 1;
    if (this.#pings.size < 8) this.#pings.set(this.#pingCount, now);
    this.send(["p", this.#pingCount]);
  }

  #fail(reason: string): void {
    if (this.#isClosed) return;
    this.close();
    this.#hooks.broken(reason, true);
  }
}
