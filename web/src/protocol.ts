// The JSON of /api/live and /api/calls.

export interface WindowView {
  /** Seconds from the start of the call. */
  start: number;
  end: number;
  /** Empty where the model does not analyse the channel. */
  emotion: string;
  confidence: number;
  valence?: number;
  /** In LUFS. */
  loudness?: number;
  /** Share of speech. */
  speech?: number;
  /** In thousandths, in the order of the channel's labels. */
  scores?: number[];
}

export interface ChannelView {
  name: string;
  analysed: boolean;
  model: string;
  labels: string[];
}

export interface CallView {
  call_id: string;
  source: string;
  /** Milliseconds since 1970. Another call of the same id has another one. */
  since: number;
  stream_ids: string[];
  attributes: Record<string, string>;
  ended: boolean;
  /** Whether it is over and its summary is held. */
  summarised: boolean;
  channels: ChannelView[];
}

export interface AlertView {
  alert_id: string;
  state: "raised" | "cleared";
  rule: string;
  priority: "high" | "low";
  call_id: string;
  channel_name: string;
  start: number;
  end: number | null;
  value: number;
  threshold: number;
  event_ids: string[];
}

export interface FullCall extends CallView {
  /** Channel by channel. */
  windows: WindowView[][];
  alerts: AlertView[];
}

export interface Snapshot {
  version: string;
  time: number;
  hidden: number;
  /** Labels that count in the valence. */
  valences: { positive: string[]; negative: string[] };
  calls: FullCall[];
}

export interface Batch {
  time: number;
  calls: CallView[];
  windows: (WindowView & { call_id: string; channel: number })[];
  ended: string[];
  removed: string[];
  alerts: AlertView[];
  missed: number;
  hidden: number;
}

/** A duration of proto3 JSON, such as "12.340s". */
export type Seconds = string;

export interface ChannelSummary {
  name?: string;
  analysed?: boolean;
  talkTime?: Seconds;
  talkShare?: number;
  loudness?: { integratedLufs?: number; maxShortTermLufs?: number };
  windows?: string;
  emotionShares?: { emotion: string; share?: number }[];
  dominantEmotion?: string;
  longest?: { emotion: string; start?: Seconds; end?: Seconds };
  changes?: string;
  valence?: number;
  valenceByQuarter?: { start?: Seconds; end?: Seconds; score?: number }[];
  valenceTrend?: number;
}

export interface CallSummary {
  summaryId: string;
  callId: string;
  streamIds?: string[];
  source?: string;
  startTime?: string;
  duration?: Seconds;
  endReason?: string;
  model?: string;
  attributes?: Record<string, string>;
  channels?: ChannelSummary[];
  nonTalk?: { total?: Seconds; instances?: { start?: Seconds; end?: Seconds }[] };
  overlapTotal?: Seconds;
  interruptions?: { by: string; over: string; start?: Seconds; end?: Seconds }[];
  audio?: { lost?: Seconds; late?: string; holes?: string; identicalChannels?: boolean };
}

/** An event as /v1/analyze returns it. */
export interface EmotionEvent {
  streamId: string;
  channel?: number;
  channelName?: string;
  start?: Seconds;
  end?: Seconds;
  emotion: string;
  confidence?: number;
  scores?: { emotion: string; probability?: number }[];
  smoothedScores?: { emotion: string; probability?: number }[];
  model: string;
}

export function seconds(duration: Seconds | undefined): number {
  return duration ? Number.parseFloat(duration) : 0;
}
