/**
 * Lines over two logarithmic axes, as an SVG document: a straight line is a power, and its slope the exponent. It has no
 * background, and colours that can be told from a white page as from a dark one.
 */

export interface PlotLine {
  name: string;
  points: [x: number, y: number][];
}

export interface Panel {
  x_label: string;
  y_label: string;
  lines: PlotLine[];
}

interface Plot {
  title: string;
  description: string;
  panels: Panel[];
}

const WIDTH = 900;
const PANEL_HEIGHT = 420;
const TITLE_HEIGHT = 56;
const LEFT = 76;
/** Where names of lines stand. */
const RIGHT = 300;
const TOP = 20;
const BOTTOM = 56;
const LINE_HEIGHT = 22;
const MARK = 4;
/** Contrast of 3 and more with #fff and with #0d1117. */
const COLOURS = ["#2a78d6", "#c4581a", "#1f8a4c", "#c2397a", "#8560d6", "#0f8496", "#9a6b00", "#d03b3b"];
/** Lines beyond the colours, and whoever does not see them, tell lines by these. */
const DASHES = ["", "8 4", "2 4", "10 4 2 4"];

const STYLE =
  "text{font-family:system-ui,sans-serif;font-size:13px;fill:#57606a}" +
  ".title{font-size:17px;font-weight:600}" +
  ".grid{stroke:#8c959f;stroke-opacity:.3}.frame{stroke:#8c959f;fill:none}" +
  "polyline{fill:none;stroke-width:2;stroke-linejoin:round}" +
  "@media(prefers-color-scheme:dark){text{fill:#b1bac4}}";

function escaped(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll('"', "&quot;");
}

/** Whole powers of ten around all values, at least one decade. */
function decades(values: readonly number[]): { from: number; to: number } {
  const from = Math.floor(Math.log10(Math.min(...values)));
  return { from, to: Math.max(from + 1, Math.ceil(Math.log10(Math.max(...values)))) };
}

function power_text(power: number): string {
  if (power >= 6) return `${10 ** (power - 6)}M`;
  if (power >= 3) return `${10 ** (power - 3)}k`;
  return power >= 0 ? String(10 ** power) : (10 ** power).toFixed(-power);
}

function panel_svg({ x_label, y_label, lines }: Panel, top: number): string {
  const points = lines.flatMap((line) => line.points);
  const across = decades(points.map(([x]) => x));
  const up = decades(points.map(([, y]) => y));
  const width = WIDTH - LEFT - RIGHT;
  const height = PANEL_HEIGHT - TOP - BOTTOM;
  const at_x = (log: number) => LEFT + (width * (log - across.from)) / (across.to - across.from);
  const at_y = (log: number) => TOP + height - (height * (log - up.from)) / (up.to - up.from);
  const parts: string[] = [];
  for (let power = across.from; power <= across.to; power++) {
    const x = at_x(power).toFixed(1);
    parts.push(`<line class="grid" x1="${x}" y1="${TOP}" x2="${x}" y2="${TOP + height}"/>`);
    parts.push(`<text x="${x}" y="${TOP + height + 18}" text-anchor="middle">${power_text(power)}</text>`);
  }
  for (let power = up.from; power <= up.to; power++) {
    const y = at_y(power);
    parts.push(
      `<line class="grid" x1="${LEFT}" y1="${y.toFixed(1)}" x2="${LEFT + width}" y2="${y.toFixed(1)}"/>`,
    );
    parts.push(
      `<text x="${LEFT - 8}" y="${(y + 4).toFixed(1)}" text-anchor="end">${power_text(power)}</text>`,
    );
  }
  parts.push(`<rect class="frame" x="${LEFT}" y="${TOP}" width="${width}" height="${height}"/>`);
  const [middle_x, middle_y] = [LEFT + width / 2, TOP + height / 2];
  parts.push(
    `<text x="${middle_x}" y="${TOP + height + 42}" text-anchor="middle">${escaped(x_label)}</text>`,
    `<text transform="translate(18 ${middle_y}) rotate(-90)" text-anchor="middle">${escaped(y_label)}</text>`,
  );
  lines.forEach((line, i) => {
    const colour = COLOURS[i % COLOURS.length]!;
    const dash = DASHES[i % DASHES.length]!;
    const stroke = `stroke="${colour}"${dash === "" ? "" : ` stroke-dasharray="${dash}"`}`;
    const places = line.points.map(([x, y]) => [at_x(Math.log10(x)), at_y(Math.log10(y))] as const);
    const list = places.map(([x, y]) => `${x.toFixed(1)},${y.toFixed(1)}`).join(" ");
    parts.push(`<polyline ${stroke} points="${list}"><title>${escaped(line.name)}</title></polyline>`);
    for (const [x, y] of places) {
      parts.push(`<circle fill="${colour}" cx="${x.toFixed(1)}" cy="${y.toFixed(1)}" r="${MARK}"/>`);
    }
    const [from, y] = [LEFT + width + 20, TOP + 10 + i * LINE_HEIGHT];
    parts.push(
      `<polyline ${stroke} points="${from},${y} ${from + 32},${y}"/>`,
      `<circle fill="${colour}" cx="${from + 16}" cy="${y}" r="${MARK}"/>`,
      `<text x="${from + 40}" y="${y + 4}">${escaped(line.name)}</text>`,
    );
  });
  return `<g transform="translate(0 ${top})">\n${parts.join("\n")}\n</g>`;
}

/** One panel below the other. */
export function log_log_plot({ title, description, panels }: Plot): string {
  const height = TITLE_HEIGHT + panels.length * PANEL_HEIGHT;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" role="img" aria-labelledby="title description">`,
    `<title id="title">${escaped(title)}</title>`,
    `<desc id="description">${escaped(description)}</desc>`,
    `<style>${STYLE}</style>`,
    `<text class="title" x="${LEFT}" y="32">${escaped(title)}</text>`,
    ...panels.map((panel, i) => panel_svg(panel, TITLE_HEIGHT + i * PANEL_HEIGHT)),
    "</svg>\n",
  ].join("\n");
}
