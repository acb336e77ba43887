// The microphone: samples of an AudioWorklet to /v1/listen, as the channel "customer" of a call of its own.

/** Bytes that may wait in the socket; beyond that audio is dropped, so that the page stays close to the present. */
const MOST_BUFFERED = 256 * 1024;

export class Microphone {
  private constructor(
    readonly callId: string,
    private readonly socket: WebSocket,
    private readonly context: AudioContext,
    private readonly media: MediaStream,
  ) {}

  /** Asks for the microphone and connects. `onEnd` receives why the connection ended; an empty text after `stop`. */
  static async start(token: string, onEnd: (text: string) => void): Promise<Microphone> {
    if (!navigator.mediaDevices) {
      throw new Error("Browsers allow the microphone on localhost and over HTTPS only.");
    }
    const audio = { channelCount: 1, echoCancellation: false, noiseSuppression: false, autoGainControl: false };
    const media = await navigator.mediaDevices.getUserMedia({ audio });
    const context = new AudioContext();
    try {
      await context.audioWorklet.addModule("/assets/recorder.js");
      const callId = `microphone-${new Date().toISOString().slice(11, 19)}`;
      const socket = await connect(callId, context.sampleRate, token);
      const microphone = new Microphone(callId, socket, context, media);
      microphone.run(onEnd);
      return microphone;
    } catch (error) {
      media.getTracks().forEach((track) => track.stop());
      await context.close();
      throw error;
    }
  }

  private run(onEnd: (text: string) => void): void {
    const { socket, context, media } = this;
    const recorder = new AudioWorkletNode(context, "recorder", { numberOfOutputs: 0 });
    recorder.port.onmessage = ({ data }: MessageEvent<ArrayBuffer>) => {
      if (socket.readyState === WebSocket.OPEN && socket.bufferedAmount < MOST_BUFFERED) socket.send(data);
    };
    context.createMediaStreamSource(media).connect(recorder);
    socket.onclose = ({ code, reason }) => {
      this.release();
      onEnd(code === 1000 ? "" : reason || `The connection was closed (${code}).`);
    };
  }

  /** Ends the stream; the daemon closes the connection after the last event. */
  stop(): void {
    this.release();
    this.socket.send(JSON.stringify({ type: "CloseStream" }));
  }

  private release(): void {
    this.media.getTracks().forEach((track) => track.stop());
    if (this.context.state !== "closed") void this.context.close();
  }
}

function connect(callId: string, rate: number, token: string): Promise<WebSocket> {
  const query = new URLSearchParams({
    encoding: "linear16",
    sample_rate: String(rate),
    channels: "1",
    channel_names: "customer",
    call_id: callId,
  });
  const url = `${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/v1/listen?${query}`;
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(url, token ? ["token", token] : []);
    socket.binaryType = "arraybuffer";
    socket.onopen = () => resolve(socket);
    socket.onclose = () =>
      reject(new Error("The daemon refuses audio of this page: set ingest.tokens, or ingest.insecure_loopback = true."));
  });
}
