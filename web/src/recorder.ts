// The worklet of the microphone: samples in, messages of 100 ms of 16-bit little-endian PCM out.
declare const sampleRate: number;
declare class AudioWorkletProcessor {
  readonly port: MessagePort;
}
declare function registerProcessor(name: string, processor: new () => AudioWorkletProcessor): void;

const SAMPLES = Math.round(sampleRate / 10);

class Recorder extends AudioWorkletProcessor {
  private buffer = new Int16Array(SAMPLES);
  private filled = 0;

  process(inputs: Float32Array[][]): boolean {
    for (const sample of inputs[0]?.[0] ?? []) {
      this.buffer[this.filled] = Math.round(Math.min(1, Math.max(-1, sample)) * 32767);
      this.filled += 1;
      if (this.filled === this.buffer.length) {
        this.port.postMessage(this.buffer.buffer, [this.buffer.buffer]);
        this.buffer = new Int16Array(SAMPLES);
        this.filled = 0;
      }
    }
    return true;
  }
}

registerProcessor("recorder", Recorder);
