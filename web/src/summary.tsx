// The summary of a call that has ended.
import { Bar } from "./bar";
import { capital, word } from "./emotions";
import { channelName, clock, decimal, percent, signed } from "./format";
import { type CallSummary, type ChannelSummary, seconds } from "./protocol";

export function Summary({ summary }: { summary: CallSummary }) {
  const facts: [string, string][] = [
    ["Length", clock(seconds(summary.duration))],
    ["Ended", summary.endReason ?? ""],
  ];
  if (summary.startTime) facts.push(["Started", new Date(summary.startTime).toLocaleString()]);
  if (summary.nonTalk) facts.push(["Nobody speaks", clock(seconds(summary.nonTalk.total))]);
  if (summary.overlapTotal) facts.push(["Both speak", clock(seconds(summary.overlapTotal))]);
  const { interruptions = [], audio } = summary;
  facts.push(["Interruptions", String(interruptions.length)]);
  if (audio?.lost && seconds(audio.lost) > 0) facts.push(["Lost audio", `${decimal(seconds(audio.lost))} s`]);
  return (
    <section class="summary">
      <h3>Summary</h3>
      <dl class="facts">
        {facts.map(([name, value]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>{value}</dd>
          </div>
        ))}
      </dl>
      {audio?.identicalChannels && <p class="hint">Two channels have the same audio; no overlap is counted.</p>}
      {(summary.channels ?? []).map((channel) => (
        <ChannelSummaryView key={channel.name} channel={channel} />
      ))}
      {interruptions.length > 0 && (
        <>
          <h4>Interruptions</h4>
          <ul class="plain">
            {interruptions.map((it) => (
              <li key={`${it.by}${it.start}`}>
                {clock(seconds(it.start))} {it.by} interrupts {it.over} for{" "}
                {decimal(seconds(it.end) - seconds(it.start))} s
              </li>
            ))}
          </ul>
        </>
      )}
    </section>
  );
}

function ChannelSummaryView({ channel }: { channel: ChannelSummary }) {
  const facts: [string, string][] = [];
  if (channel.talkTime) {
    facts.push(["Speaks", `${clock(seconds(channel.talkTime))} (${percent(channel.talkShare ?? 0)})`]);
  }
  const loudness = channel.loudness?.integratedLufs;
  if (loudness !== undefined) facts.push(["Loudness", `${decimal(loudness)} LUFS`]);
  if (channel.valence !== undefined) facts.push(["Valence", signed(channel.valence)]);
  if (channel.valenceTrend !== undefined) facts.push(["Trend", signed(channel.valenceTrend)]);
  const { longest } = channel;
  if (longest) {
    const length = clock(seconds(longest.end) - seconds(longest.start));
    facts.push(["Longest", `${word(longest.emotion)} for ${length}`]);
  }
  if (channel.analysed) facts.push(["Changes", channel.changes ?? "0"]);
  return (
    <div class="channel-summary">
      <h4>
        {channelName(channel.name ?? "")}
        {channel.dominantEmotion && `: mostly ${word(channel.dominantEmotion)}`}
      </h4>
      <dl class="facts">
        {facts.map(([name, value]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>{value}</dd>
          </div>
        ))}
      </dl>
      {channel.emotionShares && (
        <ul class="bars">
          {channel.emotionShares.map(({ emotion, share }) => (
            <Bar key={emotion} label={emotion} share={share ?? 0} />
          ))}
        </ul>
      )}
      {channel.valenceByQuarter && (
        <p class="quarters">
          Valence by quarter:{" "}
          {channel.valenceByQuarter.map(({ score }) => (score === undefined ? "no speech" : signed(score))).join(" · ")}
        </p>
      )}
    </div>
  );
}

/** What a channel sounded like, in a few words. */
export function inWords(channel: ChannelSummary): string {
  if (!channel.dominantEmotion) return channel.analysed ? "no speech" : "not analysed";
  return capital(word(channel.dominantEmotion));
}
