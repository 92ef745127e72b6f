--- What the page of tools/bench/report is made of: HTML that no input breaks out of, plots as inline SVG, the style.
--- Plots are as wide as the page gives them: across they count in percent, down in pixels, so that a narrow window
--- squeezes lines and bars but never the words.
local svg = {}

local LONGEST <const> = 2000 -- bytes shown of one text of the input
local REPLACEMENT <const> = "\u{FFFD}"
local ENTITIES <const> = {["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;", ["'"] = "&#39;"}

-- ---- markup ----

---@class Markup  finished HTML; whatever else gets into a template is escaped
local Markup = {}
Markup.__index = Markup
Markup.__tostring = function(self) return self.html end

local function as_markup(html) return setmetatable({html = html}, Markup) end

--- Any bytes as valid UTF-8 that shows what it can.
local function clean(text)
  if #text > LONGEST then text = text:sub(1, LONGEST) .. "…" end
  local parts, at = {}, 1
  while true do
    local good, bad = utf8.len(text, at)
    if good then break end
    parts[#parts + 1] = text:sub(at, bad - 1) .. REPLACEMENT
    at = bad + 1
  end
  parts[#parts + 1] = text:sub(at)
  return (table.concat(parts):gsub("[\0-\8\11-\31\127]", REPLACEMENT))
end

local function insert(value, key)
  if getmetatable(value) == Markup then return value.html end
  if math.type(value) == "float" then return ("%.2f"):format(value) end
  return (clean(tostring(assert(value, key))):gsub("[&<>\"']", ENTITIES))
end

--- Fills {name} and {1} in a template with what `values` has under them: Markup as it is, all else escaped.
---@param template string
---@param values table
---@return Markup
function svg.markup(template, values)
  return as_markup((template:gsub("{(%w+)}", function(key) return insert(values[tonumber(key) or key], key) end)))
end

---@param list any[]  Markup, or text, which is escaped
---@param between? string
---@return Markup
function svg.join(list, between)
  local parts = {}
  for i, one in ipairs(list) do parts[i] = insert(one) end
  return as_markup(table.concat(parts, between or "\n"))
end

local markup <const>, join <const> = svg.markup, svg.join

-- ---- pieces of plots ----

local drawn = 0 -- plots so far: their titles need ids of their own

--- A drawing with its title and description, for those who hear the page.
local function picture(o, height, parts)
  drawn = drawn + 1
  return markup([[<svg class="{class}" role="img" aria-labelledby="t{n} d{n}" width="{width}" height="{height}">
<title id="t{n}">{title}</title><desc id="d{n}">{desc}</desc>
{parts}
</svg>]], {class = o.class, n = drawn, width = o.width or "100%", height = height, title = o.title, desc = o.desc,
           parts = join(parts)})
end

--- At most `most` characters of a text.
local function cut(text, most)
  text = clean(text)
  if utf8.len(text) <= most then return text end
  return text:sub(1, utf8.offset(text, most) - 1) .. "…"
end

-- ---- the spread of a few runs ----

local WHISKER <const> = {width = 92, height = 16, edge = 5}

--- All runs of a variant as dots on a line from the slowest to the fastest, with the median in the middle.
---@param o {low: number, high: number, dots: number[], reach: number, title: string, desc: string}
---  low, high, dots: how far from the median, as parts of it; reach: what the picture's edge stands for
---@return Markup
function svg.whisker(o)
  local middle = WHISKER.width / 2
  local function x(part)
    return middle + math.max(-1, math.min(1, part / o.reach)) * (middle - WHISKER.edge)
  end
  local y = WHISKER.height / 2
  local parts = {
    markup('<line class="axis" x1="{1}" x2="{1}" y1="1" y2="{2}"/>', {middle, WHISKER.height - 1}),
    markup('<line class="range" x1="{1}" x2="{2}" y1="{3}" y2="{3}"/>', {x(o.low), x(o.high), y}),
  }
  for i, last in ipairs {o.low, o.high} do
    local side, beyond = 2 * i - 3, math.abs(last) > o.reach * (1 + 1e-9)
    local shape = beyond and '<path class="range" d="M{1} {2}l{3} 4l{4} 4"/>' or '<path class="range" d="M{1} {2}v8"/>'
    parts[#parts + 1] = markup(shape, {x(last), y - 4, 4 * side, -4 * side})
  end
  for _, dot in ipairs(o.dots) do
    if math.abs(dot) <= o.reach then
      parts[#parts + 1] = markup('<circle class="run" cx="{1}" cy="{2}" r="2.2"/>', {x(dot), y})
    end
  end
  return picture({class = "whisker", width = WHISKER.width, title = o.title, desc = o.desc}, WHISKER.height, parts)
end

-- ---- bars ----

local BARS <const> = {left = 29.0, right = 75.0, least = 0.3, -- percent
                      row = 24, thick = 15, -- pixels
                      wide = 28, narrow = 18, small = 21} -- characters of a label

---@class Bar
---@field label string
---@field note? string     after the label, in grey
---@field length? number   of any measure that all share
---@field low? number      where the runs begin and end, in the same measure
---@field high? number
---@field figure string    written at its end
---@field unit? string     after the figure, where there is room
---@field more? string     written after that where there is room
---@field kind string      its colour: ours, erlang, caf or other
---@field failed? boolean then `figure` tells why, in red, and there is no bar

local function bar_label(bar, y, small)
  local room = bar.note and utf8.len(bar.note) + 1 or 0
  local wide, narrow = cut(bar.label, (small and BARS.small or BARS.wide) - room), cut(bar.label, BARS.narrow - room)
  local words = markup("{1}", {wide})
  if wide ~= narrow then
    words = markup('<tspan class="wide">{1}</tspan><tspan class="narrow">{2}</tspan>', {wide, narrow})
  end
  local note = bar.note and markup(' <tspan class="quiet">{1}</tspan>', {bar.note}) or ""
  return markup('<text class="{class}" x="0" y="{y}">{words}{note}</text>', {
    class = bar.kind == "ours" and not small and "name" or "", y = y, words = words, note = note})
end

--- Bars that lie one below the other, the figure at each one's end.
---@param o {title: string, desc: string, bars: Bar[], small?: boolean}  small: for half the page
---@return Markup
function svg.bars(o)
  local longest = 0
  for _, bar in ipairs(o.bars) do longest = math.max(longest, bar.length or 0, bar.high or 0) end
  local function x(length) return BARS.left + (BARS.right - BARS.left) * length / math.max(longest, 1e-300) end

  local parts = {}
  for i, bar in ipairs(o.bars) do
    local top = (i - 1) * BARS.row + (BARS.row - BARS.thick) / 2
    local middle, base = top + BARS.thick / 2, top + BARS.thick - 3.5
    parts[#parts + 1] = bar_label(bar, base, o.small)
    if bar.failed or not bar.length then
      parts[#parts + 1] = markup('<text class="{class}" x="{x}%" y="{y}">{figure}</text>', {
        class = bar.failed and "failed" or "quiet", x = BARS.left, y = base, figure = cut(bar.figure, 90)})
    else
      parts[#parts + 1] = markup('<rect class="bar {kind}" x="{x}%" y="{y}" width="{w}%" height="{h}" rx="1.5"/>', {
        kind = bar.kind, x = BARS.left, y = top, w = math.max(BARS.least, x(bar.length) - BARS.left), h = BARS.thick})
      if bar.low and bar.high and x(bar.high) - x(bar.low) > BARS.least then
        parts[#parts + 1] = markup([[<g class="range"><line x1="{a}%" x2="{b}%" y1="{y}" y2="{y}"/>
<line x1="{a}%" x2="{a}%" y1="{up}" y2="{down}"/><line x1="{b}%" x2="{b}%" y1="{up}" y2="{down}"/></g>]],
          {a = x(bar.low), b = x(bar.high), y = middle, up = middle - 3.5, down = middle + 3.5})
      end
      local unit = bar.unit and markup('<tspan class="wide"> {1}</tspan>', {bar.unit}) or ""
      local more = bar.more and markup('<tspan class="quiet"> · {1}</tspan>', {bar.more}) or ""
      parts[#parts + 1] = markup('<text class="figure" x="{x}%" dx="7" y="{y}">{figure}{unit}{more}</text>', {
        x = x(math.max(bar.length, bar.high or 0)), y = base, figure = bar.figure, unit = unit, more = more})
    end
  end
  return picture({class = "plot", title = o.title, desc = o.desc}, #o.bars * BARS.row, parts)
end

-- ---- percentiles ----

local LATENCY <const> = {left = 11.0, right = 66.0, label = 69.0, top = 12, bottom = 28, line = 16,
                         decade = 62, least = 120, most = 480}
local FEW <const> = 50 -- most times as slow that the slowest may be for lines at 2 and 5, too
local COLOURS <const> = 7 -- .line1 to .line7 in the style
local DASHES <const> = {"none", "7 3", "2 3"} -- for those beyond, so that no two lines look alike
local MARKS <const> = {
  "M-3.4 0a3.4 3.4 0 1 0 6.8 0a3.4 3.4 0 1 0 -6.8 0z", "M-3 -3h6v6h-6z", "M0 -4.2L4 3.2H-4z",
  "M0 -4.4L4.4 0L0 4.4L-4.4 0z",
}

--- The largest of 1, 2, 5, 10, 20 ... that is not over `value`; with `up` the smallest that is not under it.
local function round_number(value, up)
  local power = 10.0 ^ math.floor(math.log(value, 10) + 1e-9)
  local steps = {1, 2, 5, 10}
  if up then
    for _, step in ipairs(steps) do
      if step * power >= value * (1 - 1e-9) then return step * power end
    end
  end
  for i = #steps, 1, -1 do
    if steps[i] * power <= value * (1 + 1e-9) then return steps[i] * power end
  end
  return power
end

--- Which values get a line across: whole decades, and 2 and 5 between them where there are few.
local function ticks(low, high)
  local list, few = {}, high / low <= FEW
  local power = 10.0 ^ math.floor(math.log(low, 10) + 1e-9)
  while power <= high * (1 + 1e-9) do
    for _, step in ipairs(few and {1, 2, 5} or {1}) do
      local value = step * power
      if value >= low * (1 - 1e-9) and value <= high * (1 + 1e-9) then list[#list + 1] = value end
    end
    power = power * 10
  end
  return list
end

--- Moves labels that would lie over each other apart: each `y` becomes one at least LATENCY.line from the next.
local function spread_labels(labels, least, most)
  table.sort(labels, function(a, b) return a.y < b.y or (a.y == b.y and a.order < b.order) end)
  local floor = least
  for _, label in ipairs(labels) do
    label.y = math.max(label.y, floor)
    floor = label.y + LATENCY.line
  end
  local ceiling = most
  for i = #labels, 1, -1 do
    labels[i].y = math.min(labels[i].y, ceiling)
    ceiling = labels[i].y - LATENCY.line
  end
end

local function bounds(lines)
  local low, high = math.huge, 0
  for _, line in ipairs(lines) do
    for _, point in ipairs(line.points) do low, high = math.min(low, point.ns), math.max(high, point.ns) end
  end
  if high / low > FEW then -- many decades: whole ones
    return 10.0 ^ math.floor(math.log(low, 10) + 1e-9), 10.0 ^ math.ceil(math.log(high, 10) - 1e-9)
  end
  low, high = round_number(low), round_number(high, true)
  return low, low < high and high or low * 10
end

local function latency_line(line, order, x, y)
  local parts = {}
  local style = {class = "line" .. (order - 1) % COLOURS + 1, dash = DASHES[(order - 1) // COLOURS % #DASHES + 1],
                 mark = MARKS[(order - 1) % #MARKS + 1]}
  for i = 2, #line.points do
    local from, to = line.points[i - 1], line.points[i]
    parts[#parts + 1] = markup(
      '<line x1="{x1}%" y1="{y1}" x2="{x2}%" y2="{y2}" stroke-dasharray="{dash}"/>',
      {x1 = x(from.at), y1 = y(from.ns), x2 = x(to.at), y2 = y(to.ns), dash = style.dash})
  end
  for _, point in ipairs(line.points) do
    parts[#parts + 1] = markup('<svg x="{x}%" y="{y}" overflow="visible"><path d="{mark}"/></svg>',
                               {x = x(point.at), y = y(point.ns), mark = style.mark})
  end
  return markup('<g class="line {class}">{parts}</g>', {class = style.class, parts = join(parts)}), style.class
end

---@class LatencyLine
---@field name string
---@field more? string                       after the name, in grey, where there is room
---@field points {at: integer, ns: number}[] at: which of the stops; ns over 0; at least one

--- Percentiles from left to right, a logarithm of the time upward, a line each with its name at the end.
---@param o {title: string, desc: string, stops: string[], lines: LatencyLine[], tick: fun(ns: number): string,
---  small?: boolean}
---@return Markup
function svg.latency(o)
  local low, high = bounds(o.lines)
  local inner = math.max(LATENCY.least, #o.lines * LATENCY.line,
    math.min(LATENCY.most, math.log(high / low, 10) * LATENCY.decade * (o.small and 0.6 or 1)))
  local foot = LATENCY.top + inner
  local function x(at)
    return LATENCY.left + 2 + (LATENCY.right - LATENCY.left - 3) * (at - 1) / (#o.stops - 1)
  end
  local function y(ns) return foot - inner * math.log(ns / low, 10) / math.log(high / low, 10) end

  local parts = {}
  for _, value in ipairs(ticks(low, high)) do
    parts[#parts + 1] = markup([[<line class="grid" x1="{left}%" x2="{right}%" y1="{y}" y2="{y}"/>
<text class="tick" x="{left}%" dx="-8" y="{base}" text-anchor="end">{words}</text>]], {
      left = LATENCY.left, right = LATENCY.right, y = y(value), base = y(value) + 4, words = o.tick(value)})
  end
  for at, stop in ipairs(o.stops) do
    parts[#parts + 1] = markup('<text class="tick" x="{x}%" y="{y}" text-anchor="middle">{stop}</text>',
                               {x = x(at), y = foot + 20, stop = stop})
  end

  local labels = {}
  for order, line in ipairs(o.lines) do
    local drawing, class = latency_line(line, order, x, y)
    local last = line.points[#line.points]
    parts[#parts + 1] = drawing
    labels[#labels + 1] = {order = order, line = line, class = class, x = x(last.at), from = y(last.ns), y = y(last.ns)}
  end
  spread_labels(labels, LATENCY.top, foot)
  for _, label in ipairs(labels) do
    local more = label.line.more or ""
    parts[#parts + 1] = markup([[
<g class="line {class}"><line class="lead" x1="{x}%" y1="{from}" x2="{at}%" y2="{y}"/></g>
<text x="{at}%" dx="4" y="{base}"><tspan class="name">{name}</tspan> <tspan
class="quiet wide">{more}</tspan></text>]], {
      class = label.class, x = label.x + 0.6, from = label.from, at = LATENCY.label, y = label.y, base = label.y + 4,
      name = cut(label.line.name, o.small and 21 or 24), more = cut(more, 34)})
  end
  return picture({class = "plot", title = o.title, desc = o.desc}, foot + LATENCY.bottom, parts)
end

-- ---- style ----

--- Colours are close to those of Okabe and Ito, which people with any kind of colour vision tell apart.
svg.STYLE = as_markup [[
:root { color-scheme: light dark;
  --paper: #fff; --ink: #1d2126; --quiet: #5b6570; --rule: #dde1e5; --faint: #f4f6f8; --link: #00568a;
  --failed: #b3001b; --failed-paper: #fdf0f1; --range: #1d2126;
  --ours: #0072b2; --erlang: #e69f00; --caf: #009e73; --other: #8a949e;
  --line1: #0072b2; --line2: #d55e00; --line3: #00815e; --line4: #b8579a; --line5: #a87400; --line6: #2f93cc;
  --line7: #4a525b; }
@media screen and (prefers-color-scheme: dark) { :root {
  --paper: #14171a; --ink: #e4e7ea; --quiet: #98a2ac; --rule: #31373d; --faint: #1c2024; --link: #7cc4f2;
  --failed: #ff8a93; --failed-paper: #2c191b; --range: #f2f4f6;
  --ours: #2f8fd0; --erlang: #d99a14; --caf: #1aa57d; --other: #7a848e;
  --line1: #4aa8e8; --line2: #f0803c; --line3: #2cc79c; --line4: #e08cc4; --line5: #e0b040; --line6: #8fd3ff;
  --line7: #c3cbd3; } }
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body { margin: 0 auto; padding: 2.5rem 1.5rem 4rem; max-width: 1240px; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
h1, h2, h3 { line-height: 1.2; font-weight: 650; text-wrap: balance; }
h1 { margin: 0; font-size: 2rem; letter-spacing: -0.015em; }
h2 { margin: 3.2rem 0 0.5rem; padding-top: 1rem; border-top: 2px solid var(--ink); font-size: 1.35rem; }
h3 { margin: 2.4rem 0 0.3rem; font-size: 1.08rem; }
p { margin: 0.4rem 0 0.9rem; max-width: 46rem; }
a { color: var(--link); text-decoration-thickness: 1px; text-underline-offset: 2px; }
code { font: 0.92em ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; }
.quiet { color: var(--quiet); }
.none { color: var(--quiet); opacity: 0.7; }
.sub { margin: 0.35rem 0 1.4rem; color: var(--quiet); }
nav { margin: 1.4rem 0 0; }
nav a { margin-right: 1.2rem; }
.facts { display: grid; grid-template-columns: repeat(3, minmax(0, 1fr)); gap: 0.9rem 1.6rem; margin: 0 0 1.4rem;
  padding: 1rem 0; border-block: 1px solid var(--rule); }
.facts div { min-width: 0; }
dt { color: var(--quiet); font-size: 0.8rem; }
dd { margin: 0; overflow-wrap: anywhere; }
.verdict { padding: 0.55rem 0.9rem; border-left: 4px solid var(--caf); background: var(--faint); }
.verdict.bad { border-color: var(--failed); background: var(--failed-paper); color: var(--failed); }
.verdict.bad a { color: inherit; }
.scroll { overflow-x: auto; margin: 0.8rem 0 0; }
table { border-collapse: collapse; width: 100%; font-size: 0.85rem; line-height: 1.35;
  font-variant-numeric: tabular-nums lining-nums; }
caption { text-align: left; color: var(--quiet); padding-bottom: 0.5rem; }
th, td { padding: 0.3rem 0.45rem; text-align: right; font-weight: 400; white-space: nowrap; vertical-align: middle; }
thead th { color: var(--quiet); font-size: 0.8rem; vertical-align: bottom; border-bottom: 1px solid var(--ink); }
th:first-child { padding-left: 0; text-align: left; position: sticky; left: 0; background: var(--paper); }
th:last-child, td:last-child { padding-right: 0; }
th.left, td.left, td.wrap { text-align: left; padding-left: 0.9rem; }
td.mid, th.mid { text-align: center; }
td.wrap { white-space: normal; min-width: 12rem; overflow-wrap: anywhere; }
td.wrap span { position: sticky; left: 10.5rem; display: inline-block; max-width: min(46rem, calc(100vw - 13rem)); }
tbody + tbody { border-top: 1px solid var(--rule); }
table.flat tbody tr + tr { border-top: 1px solid var(--rule); }
tbody th b, tbody th a { font-weight: 600; }
tbody tr:hover > * { background: var(--faint); }
td.rate { font-weight: 600; }
td.rate small { font-weight: 400; color: var(--quiet); font-size: 1em; }
tr.failed th, tr.failed td, .failed { color: var(--failed); }
tr.failed > * { background: var(--failed-paper); }
tr.failed a { color: inherit; }
svg { display: block; overflow: visible; font-size: 12.5px; font-variant-numeric: tabular-nums lining-nums; }
svg text { fill: var(--ink); }
svg .quiet, svg .tick { fill: var(--quiet); }
svg .failed { fill: var(--failed); }
svg .name, svg .figure { font-weight: 600; }
svg .quiet, svg .figure tspan { font-weight: 400; }
svg .grid { stroke: var(--rule); }
.narrow { display: none; }
.whisker { margin: 0 auto; }
.whisker .axis { stroke: var(--rule); }
.whisker .range { stroke: var(--quiet); stroke-width: 1.25; fill: none; }
.whisker .run { fill: var(--ours); fill-opacity: 0.75; }
.bar, .line, .run { -webkit-print-color-adjust: exact; print-color-adjust: exact; }
.bar.ours { fill: var(--ours); } .bar.erlang { fill: var(--erlang); } .bar.caf { fill: var(--caf); }
.bar.other { fill: var(--other); }
svg g.range line { stroke: var(--range); stroke-width: 1.2; }
.line line { stroke-width: 1.8; } .line line.lead { stroke-width: 0.8; opacity: 0.65; }
.line1 { stroke: var(--line1); fill: var(--line1); } .line2 { stroke: var(--line2); fill: var(--line2); }
.line3 { stroke: var(--line3); fill: var(--line3); } .line4 { stroke: var(--line4); fill: var(--line4); }
.line5 { stroke: var(--line5); fill: var(--line5); } .line6 { stroke: var(--line6); fill: var(--line6); }
.line7 { stroke: var(--line7); fill: var(--line7); }
figure { margin: 1.1rem 0 0; min-width: 0; }
figcaption { margin-bottom: 0.35rem; }
.group figcaption { display: grid; grid-template-columns: calc(29% - 1rem) 1fr; gap: 0.1rem 1rem;
  align-items: baseline; }
.group { padding-top: 0.9rem; border-top: 1px solid var(--rule); }
.ratios { display: flex; flex-wrap: wrap; gap: 0 1.4rem; font-variant-numeric: tabular-nums; }
.ratios b { font-size: 1.1em; }
.pair figure { margin-top: 0.3rem; }
.pair { display: grid; grid-template-columns: minmax(0, 1fr) minmax(0, 1fr); gap: 0 3rem; align-items: start; }
.plot-title { font-size: 0.87rem; color: var(--quiet); }
@media screen and (max-width: 960px) { .pair { grid-template-columns: minmax(0, 1fr); } }
@media screen and (max-width: 640px) {
  body { padding: 1.4rem 1rem 3rem; font-size: 14.5px; }
  h1 { font-size: 1.6rem; }
  h2 { margin-top: 2.4rem; }
  .facts { grid-template-columns: repeat(2, minmax(0, 1fr)); }
  .group figcaption { grid-template-columns: 1fr; }
  .wide { display: none; } .narrow { display: inline; }
  svg { font-size: 11.5px; }
  tbody th:first-child { max-width: 9.5rem; white-space: normal; overflow-wrap: break-word; }
  td.runs { white-space: nowrap; }
  .pair figure + figure { margin-top: 1rem; }
  th:first-child { padding-right: 0.5rem; box-shadow: 1px 0 0 var(--rule); }
}
@media print {
  @page { size: A4 landscape; margin: 13mm; }
  body { max-width: none; padding: 0; font-size: 9.5pt; }
  h2 { margin-top: 1.6rem; } h2, h3, h2 + p, h3 + p, figcaption { break-after: avoid; }
  figure, tr, .bench, #latency { break-inside: avoid; }
  .scroll { overflow: visible; }
  table { font-size: 8pt; } th, td { padding: 0.2rem 0.4rem; }
  th:first-child { position: static; }
  p { break-inside: avoid; orphans: 3; } svg { font-size: 10.5px; }
  nav { display: none; } a { color: inherit; text-decoration: none; }
}
]]

return svg
