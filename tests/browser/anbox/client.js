// A client of the Anbox dialect as its documents and its users describe it, written for tests: what it
// does not do (no onclose, no renegotiation, no REST on disconnect) is as much the point as what it does.
(() => {
  const HIDDEN = 10_000;
  const CODES = (() => {
    const table = {};
    const row = (first, names) => names.forEach((name, at) => { table[name] = first + at; });
    row(4, [...'ABCDEFGHIJKLMNOPQRSTUVWXYZ'].map((letter) => `Key${letter}`));
    row(30, [...'1234567890'].map((digit) => `Digit${digit}`));
    row(40, ['Enter', 'Escape', 'Backspace', 'Tab', 'Space', 'Minus', 'Equal', 'BracketLeft',
      'BracketRight', 'Backslash', 'Quote', 'Semicolon']);
    row(54, ['Comma', 'Period', 'Slash', 'CapsLock']);
    row(58, [...Array(12).keys()].map((n) => `F${n + 1}`));
    row(70, ['PrintScreen', 'ScrollLock', 'Pause', 'Insert', 'Home', 'PageUp', 'Delete', 'End',
      'PageDown', 'ArrowRight', 'ArrowLeft', 'ArrowDown', 'ArrowUp']);
    ['Control', 'Shift', 'Alt', 'Meta'].forEach((name, at) => {
      table[`${name}Left`] = table[`${name}Right`] = 83 + at;
    });
    return table;
  })();

  class Client {
    constructor(options) {
      this.options = { api: 2, audio: true, video: true, microphone: false, camera: false,
        channels: [], screen: { width: 1280, height: 720, fps: 60, density: 240 }, ...options };
      this.log = [];                 // signalling, both ways, decoded
      this.errors = [];              // [code, message]
      this.messages = {};            // of each named channel
      this.received = [];            // callbacks.messageReceived
      this.requests = [];            // REST calls
      this.isReady = this.isDone = this.isConnected = false;
      this.tracks = {};
      this.early = [];
      this.channels = {};
      this.layout = null;
    }

    async rest(method, path, body) {
      this.requests.push([method, path]);
      const answer = await fetch(path, { method, body: body && JSON.stringify(body), headers: {
        Authorization: `Macaroon root=${this.options.token}`, 'Content-Type': 'application/json' } });
      return { status: answer.status, body: await answer.json() };
    }

    async create(app, more = {}) {
      const { screen } = this.options;
      const made = await this.rest('POST', '/1.0/sessions/',
        { app, region: '', extra_data: null, screen, ...more });
      if (made.status !== 201 || made.body.status !== 'success') return this.fail(3, made);
      await this.connect(made.body.metadata);
      return made.body.metadata;
    }

    async join(id) {
      const { width, height } = this.options.screen;
      const joined = await this.rest('POST', `/1.0/sessions/${id}/join`, { screen: { width, height } });
      if (joined.status !== 200 || joined.body.status !== 'success') return this.fail(3, joined);
      await this.connect(joined.body.metadata);
      return joined.body.metadata;
    }

    fail(code, message) {
      this.errors.push([code, message]);
      this.stop();
    }

    stop() {
      if (this.isDone) return;
      this.isDone = true;
      this.pc?.close();
    }

    async connect({ url, stun_servers: servers }) {
      // A list of another client's would be ignored: the gateway's alone counts.
      this.servers = servers.map(({ urls, username, password }) => ({ urls, username, credential: password }));
      const pc = this.pc = new RTCPeerConnection({ iceServers: this.servers });
      pc.ontrack = (event) => this.onTrack(event);
      pc.onicecandidate = ({ candidate }) => {
        if (candidate?.candidate) this.say({ type: 'candidate', candidate: btoa(candidate.candidate),
          sdpMid: candidate.sdpMid, sdpMLineIndex: candidate.sdpMLineIndex });
      };
      pc.oniceconnectionstatechange = () => this.onIce(pc.iceConnectionState);
      pc.ondatachannel = (event) => { this.foreign = [...(this.foreign ?? []), event.channel.label]; };
      for (const name of ['control', ...this.options.channels]) this.channel(name);
      if (this.options.microphone || this.options.camera) await this.capture();
      this.socket = new WebSocket(url);
      this.socket.onopen = () => this.say({ type: 'discover' });
      this.socket.onmessage = ({ data }) => this.hear(JSON.parse(data));
      // No onclose: a server that just closes leaves this client hanging.
    }

    async capture() {
      const { microphone, camera } = this.options;
      try {
        this.media = await navigator.mediaDevices.getUserMedia({ audio: microphone, video: camera });
      } catch (error) {
        this.errors.push([12, String(error)]);   // the only error that stops nothing
      }
    }

    channel(name) {
      const channel = this.channels[name] = this.pc.createDataChannel(name);
      channel.binaryType = 'arraybuffer';
      if (name === 'control') {
        channel.onmessage = ({ data }) => this.onControl(JSON.parse(data));
        channel.onerror = ({ error }) => {
          if (this.isDone) return;
          if (error.sctpCauseCode === 12) this.fail(14, error.message);
          else this.fail(13, error.message);
        };
      } else {
        this.messages[name] = [];
        channel.onmessage = ({ data }) => {
          this.messages[name].push(typeof data === 'string' ? data : [...new Uint8Array(data)]);
        };
      }
    }

    say(message) {
      this.log.push(['out', message]);
      if (this.socket?.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(message));
    }

    async hear(message) {
      this.log.push(['in', message]);
      try {
        await this.act(message);
      } catch (error) {
        this.fail(0, String(error));
      }
    }

    async act(message) {
      const { options, pc } = this;
      switch (message.type) {
        case 'resp:discover':
          if (message.max_api_version < options.api) return this.fail(1, 'unsupported');
          this.say(this.settings());
          if (options.api < 2) await this.offer();
          return;
        case 'offer':
          this.offerSdp = atob(message.sdp);
          await pc.setRemoteDescription({ type: 'offer', sdp: this.offerSdp });
          this.addMedia();
          await pc.setLocalDescription(await pc.createAnswer());
          this.say({ type: 'answer', sdp: btoa(pc.localDescription.sdp) });
          return this.takeEarly();
        case 'answer':
          this.answerSdp = atob(message.sdp);
          await pc.setRemoteDescription({ type: 'answer', sdp: this.answerSdp });
          return this.takeEarly();
        case 'candidate': {
          const candidate = { candidate: atob(message.candidate), sdpMid: message.sdpMid,
            sdpMLineIndex: message.sdpMLineIndex };
          if (pc.remoteDescription) await pc.addIceCandidate(candidate);
          else this.early.push(candidate);
          return;
        }
        case 'error':
          return this.fail(2, message.message);
      }
    }

    async takeEarly() {
      while (this.early.length) await this.pc.addIceCandidate(this.early.pop());
    }

    settings() {
      const { api, channels, audio, video, microphone, camera, codecs } = this.options;
      const said = { type: 'settings', api_version: api };
      if (api >= 2) Object.assign(said, { data_channels: channels, enable_speaker: audio,
        enable_microphone: microphone, enable_video: video, enable_camera: camera });
      if (codecs) said.video = { preferred_decoder_codecs: codecs };
      return said;
    }

    async offer() {
      this.pc.addTransceiver('audio', { direction: 'recvonly' });
      this.pc.addTransceiver('video', { direction: 'recvonly' });
      await this.pc.setLocalDescription(await this.pc.createOffer());
      this.say({ type: 'offer', sdp: btoa(this.pc.localDescription.sdp), dataChannels: this.options.channels });
    }

    addMedia() {
      for (const track of this.media?.getTracks() ?? []) {
        const place = this.pc.getTransceivers().find((t) => t.receiver.track.kind === track.kind);
        if (!place) continue;
        place.direction = 'sendrecv';
        place.sender.replaceTrack(track);
      }
    }

    onTrack({ track, streams }) {
      const stream = streams[0];
      this.tracks[track.kind] = stream.id;     // a TypeError where there is no stream
      const element = document.createElement(track.kind);
      element.autoplay = element.playsInline = true;
      element.muted = track.kind === 'video';
      element.srcObject = stream;
      document.body.append(element);
      this[`${track.kind}Element`] = element;
      if (track.kind === 'video') this.attend(element);
      else this.listen(stream);
      this.judge();
    }

    attend(video) {
      const measure = () => { this.layout = { width: video.videoWidth, height: video.videoHeight }; };
      video.onplay = video.onloadedmetadata = measure;
      addEventListener('resize', measure);
      const place = ({ clientX, clientY }) => {
        const box = video.getBoundingClientRect(), layout = this.layout ?? { width: 0, height: 0 };
        return { x: (clientX - box.left) / box.width * layout.width,
          y: (clientY - box.top) / box.height * layout.height };
      };
      const move = (event) => this.input('mouse-move', { ...place(event), rx: event.movementX, ry: event.movementY });
      const button = (event, pressed) => {
        const number = { 0: 1, 1: 2, 2: 3, 4: 5 }[event.button];
        if (number) this.input('mouse-button', { button: number, pressed });
      };
      video.onmousemove = move;
      video.onmousedown = (event) => { move(event); button(event, true); };
      video.onmouseup = (event) => button(event, false);
      video.onmousewheel = (event) => this.input('mouse-wheel',
        { x: -Math.sign(event.deltaX), y: -Math.sign(event.deltaY) });
      addEventListener('keydown', (event) => this.key(event, true));
      addEventListener('keyup', (event) => this.key(event, false));
    }

    key(event, pressed) {
      const code = CODES[event.code];
      if (code === undefined || event.repeat || this.isDone) return;
      if (pressed && code < 83) for (const [name, number] of [['Control', 83], ['Shift', 84], ['Alt', 85]]) {
        this.input('key', { code: number, pressed: event.getModifierState(name) });
      }
      this.input('key', { code, pressed });
    }

    listen(stream) {
      const context = new AudioContext(), analyser = context.createAnalyser();
      analyser.fftSize = 16384;
      analyser.smoothingTimeConstant = 0;
      context.createMediaStreamSource(stream).connect(analyser);
      this.pitch = () => {
        const bins = new Float32Array(analyser.frequencyBinCount);
        analyser.getFloatFrequencyData(bins);
        let best = 0;
        for (let at = 1; at < bins.length; at++) if (bins[at] > bins[best]) best = at;
        return bins[best] > -60 ? best * context.sampleRate / analyser.fftSize : null;
      };
    }

    onIce(state) {
      this.iceState = state;
      if (state === 'connected') {
        this.isConnected = true;
        clearTimeout(this.grace);
        this.socket.close();
        this.judge();
      } else if (state === 'disconnected') {
        this.grace = setTimeout(() => this.fail(10, 'lost'), HIDDEN);
      } else if (state === 'failed') {
        this.fail(9, 'failed');
      }
    }

    judge() {
      const { audio, video } = this.options;
      const has = (kind) => kind in this.tracks;
      if (video) this.isReady = has('video') && (!audio || has('audio'));
      else if (audio) this.isReady = has('audio');
      else this.isReady = this.isConnected;
    }

    onControl({ type, data }) {
      this.received.push([type, JSON.parse(data)]);  // a TypeError or SyntaxError where it is no string
    }

    input(type, data) { return this.control(`input::${type}`, data); }

    control(type, data) {
      const { control } = this.channels;
      if (control.readyState !== 'open') return false;
      control.send(JSON.stringify({ type, data }));
      return true;
    }

    async stats() {
      const found = {};
      const codecs = {};
      const all = await this.pc.getStats();
      all.forEach((entry) => { if (entry.type === 'codec') codecs[entry.id] = entry.mimeType; });
      all.forEach((entry) => {
        if (entry.type === 'inbound-rtp') {
          const { framesDecoded = 0, framesReceived = 0, framesDropped = 0, packetsReceived, packetsLost,
            bytesReceived, jitter, keyFramesDecoded = 0, frameWidth, frameHeight } = entry;
          found[entry.kind] = { framesDecoded, framesReceived, framesDropped, packetsReceived, packetsLost,
            totalBytesReceived: bytesReceived, jitter, keyFramesDecoded, frameWidth, frameHeight,
            codec: codecs[entry.codecId] };
        }
        if (entry.type === 'candidate-pair' && entry.nominated) found.network = { currentRtt: entry.currentRoundTripTime };
      });
      return found;
    }

    strip() {
      const video = this.videoElement;
      if (!video?.videoWidth) return null;
      const pen = new OffscreenCanvas(40, 1).getContext('2d');
      pen.imageSmoothingEnabled = false;
      pen.drawImage(video, 0, Math.round(video.videoHeight / 60), video.videoWidth, 1, 0, 0, 40, 1);
      const dots = pen.getImageData(0, 0, 40, 1).data;
      let bits = '';
      for (let at = 0; at < 40; at++) bits += dots[at * 4 + 1] > 127 ? 1 : 0;
      return bits.startsWith('1010') ? parseInt(bits.slice(28, 36), 2) : null;
    }

    disconnect() {
      this.control('stream::disconnect', {});
      setTimeout(() => this.stop(), 50);
    }
  }

  window.AnboxClient = Client;
})();
