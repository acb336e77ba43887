// Numbers and times as text.

export function clock(seconds: number): string {
  const all = Math.max(0, Math.round(seconds));
  const [hours, minutes, rest] = [Math.floor(all / 3600), Math.floor(all / 60) % 60, all % 60];
  const two = (value: number) => String(value).padStart(2, "0");
  return hours > 0 ? `${hours}:${two(minutes)}:${two(rest)}` : `${two(minutes)}:${two(rest)}`;
}

export function percent(share: number): string {
  return `${Math.round(share * 100)} %`;
}

/** Returns a number with its sign, with a real minus. */
export function signed(value: number): string {
  const text = Math.abs(value).toFixed(1);
  return Number(text) === 0 ? "0.0" : `${value < 0 ? "−" : "+"}${text}`;
}

export function decimal(value: number, digits = 1): string {
  return value.toFixed(digits).replace("-", "−");
}

/** Returns the end of a long id, which differs most often. */
export function shortId(id: string): string {
  return id.length <= 22 ? id : `${id.slice(0, 9)}…${id.slice(-9)}`;
}

export function count(number: number, one: string, many = `${one}s`): string {
  return `${number.toLocaleString("en")} ${number === 1 ? one : many}`;
}

/** Returns a number with two decimals at most, without trailing zeros. */
export function short(value: number): string {
  return String(Math.round(value * 100) / 100).replace("-", "−");
}

/** Returns the name of a channel; one without a name has its number. */
export function channelName(name: string): string {
  return /^\d+$/.test(name) ? `channel ${name}` : name;
}

/** Returns the time of day, with the date where it is not today. */
export function moment(time: string): string {
  const date = new Date(time);
  const today = date.toDateString() === new Date().toDateString();
  return today ? date.toLocaleTimeString() : date.toLocaleString();
}
