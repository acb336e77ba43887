// The charts of a call: probabilities, valence and loudness over time.
import { useEffect, useRef } from "preact/hooks";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { capital, color, themeRevision, word } from "./emotions";
import { clock } from "./format";
import type { WindowView } from "./protocol";
import type { Channel } from "./store";

type Values = (number | null)[];

/** Seconds between two labels of the axis of time. */
const STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600];

interface Series {
  label: string;
  values: Values;
  stroke: string;
  fill?: string;
}

interface Plot {
  height: number;
  times: number[];
  series: Series[];
  range: [number, number];
  /** The text of a value on the axis. */
  axis: (value: number) => string;
  /** Text that describes the chart. */
  label: string;
  /** Whether values are steps from one window to the next. */
  stepped?: boolean;
  ticks: number[];
}

/** A value is shown at the end of its window. All charts of a channel begin with its first window. */
function ends(windows: WindowView[]): number[] {
  return [...windows.slice(0, 1).map((window) => window.start), ...windows.map((window) => window.end)];
}

/** Returns a value of each window, with none where the first window begins. */
function valuesOf(windows: WindowView[], value: (window: WindowView) => number | undefined): Values {
  return [...windows.slice(0, 1).map(() => null), ...windows.map((window) => value(window) ?? null)];
}

/** The share of each label, one on top of the other. */
export function Probabilities({ channel }: { channel: Channel }) {
  const { labels } = channel;
  // A step lasts from one end to the next; the first one begins with its window.
  const [first] = channel.windows;
  const windows = first ? [first, ...channel.windows] : [];
  const sums = windows.map(() => 0);
  const series = labels.map((label, index) => {
    const values = windows.map((window, at) => {
      if (!window.scores?.length) return null;
      sums[at] = (sums[at] ?? 0) + (window.scores[index] ?? 0) / 1000;
      return sums[at] ?? 0;
    });
    return { label: capital(word(label)), values, stroke: color(label), fill: color(label) };
  });
  // The highest sum is drawn first, so that each series covers the ones behind it.
  series.reverse();
  return (
    <Chart
      height={150}
      times={ends(channel.windows)}
      series={series}
      range={[0, 1]}
      ticks={[0, 0.5, 1]}
      axis={(value) => `${Math.round(value * 100)} %`}
      label={`Probabilities of ${channel.name}`}
      stepped
    />
  );
}

export function Valence({ channel }: { channel: Channel }) {
  const values = valuesOf(channel.windows, (window) => window.valence);
  return (
    <Chart
      height={96}
      times={ends(channel.windows)}
      series={[{ label: "Valence", values, stroke: color("accent") }]}
      range={[-5, 5]}
      ticks={[-5, 0, 5]}
      axis={(value) => String(value).replace("-", "−")}
      label={`Valence of ${channel.name}`}
    />
  );
}

export function LoudnessChart({ channel }: { channel: Channel }) {
  const values = valuesOf(channel.windows, (window) => window.loudness);
  return (
    <Chart
      height={96}
      times={ends(channel.windows)}
      series={[{ label: "Loudness", values, stroke: color("muted"), fill: color("soft") }]}
      range={[-60, 0]}
      ticks={[-60, -30, 0]}
      axis={(value) => String(value).replace("-", "−")}
      label={`Loudness of ${channel.name}`}
    />
  );
}

function options(plot: Plot, width: number): uPlot.Options {
  const paths = plot.stepped ? uPlot.paths.stepped?.({ align: -1 }) : undefined;
  const font = "11px system-ui, sans-serif";
  const axis = { stroke: color("muted"), font, ticks: { show: false }, gap: 4 };
  const grid = { stroke: color("line"), width: 1 };
  return {
    width,
    height: plot.height,
    padding: [6, 16, 0, 0],
    legend: { show: false },
    cursor: { show: false },
    scales: { x: { time: false }, y: { range: plot.range } },
    axes: [
      { ...axis, grid: { show: false }, size: 26, gap: 10, space: 60, incrs: STEPS, values: (_, all) => all.map((value) => clock(value)) },
      { ...axis, grid, size: 42, splits: () => plot.ticks, values: (_, all) => all.map((value) => plot.axis(value)) },
    ],
    series: [
      {},
      ...plot.series.map(({ label, stroke, fill }) => ({
        label,
        stroke,
        width: plot.stepped ? 0 : 1.5,
        points: { show: false },
        ...(fill ? { fill, fillTo: plot.range[0] } : {}),
        ...(paths ? { paths } : {}),
      })),
    ],
  };
}

function Chart(plot: Plot) {
  const element = useRef<HTMLDivElement>(null);
  const chart = useRef<uPlot | null>(null);
  const revision = themeRevision.value;
  const data: uPlot.AlignedData = [plot.times, ...plot.series.map((series) => series.values)];
  const shape = plot.series.map((series) => series.label).join();
  useEffect(() => {
    const parent = element.current;
    if (!parent) return;
    const made = new uPlot(options(plot, Math.max(120, parent.clientWidth)), data, parent);
    chart.current = made;
    const resized = new ResizeObserver(() => {
      if (parent.clientWidth > 0 && parent.clientWidth !== made.width) {
        made.setSize({ width: parent.clientWidth, height: plot.height });
      }
    });
    resized.observe(parent);
    return () => {
      resized.disconnect();
      made.destroy();
      chart.current = null;
    };
  }, [revision, shape]);
  useEffect(() => chart.current?.setData(data));
  return <div class="chart" ref={element} role="img" aria-label={plot.label} />;
}
