"use strict";
// Whatever comes from a camera, a file name or a message reaches the page as text, never as markup.

const STATUS_MS = 500;
const PICTURE_MS = 500;
const SLOW_MS = 2000;
const MOST_SCORES = 1000;

const byId = (id) => document.getElementById(id);
const state = {
  stations: [], name: null, status: null, canChange: false, history: [], shown: 0, pictureUrl: null,
  defects: "", edited: null, token: sessionStorage.getItem("token") || "",
};

function make(tag, text, className) {
  const element = document.createElement(tag);
  if (text !== undefined) element.textContent = text;
  if (className) element.className = className;
  return element;
}

function put(id, text) {
  const element = byId(id);
  if (element.textContent !== text) element.textContent = text;
}

function digits(value) {
  return value === null || value === undefined ? "–" : Number(value).toPrecision(4);
}

const count = (value) => value.toLocaleString("en");

const path = (rest) => `/api/stations/${encodeURIComponent(state.name)}${rest}`;

async function read(address) {
  const answer = await fetch(address, { cache: "no-store" });
  if (!answer.ok) throw new Error(`${answer.status}`);
  return answer.json();
}

async function change(rest, values, done) {
  const headers = { "Content-Type": "application/json", Authorization: `Bearer ${state.token}` };
  try {
    const answer = await fetch(path(rest), { method: "POST", headers, body: JSON.stringify(values) });
    const given = await answer.json();
    say(answer.ok ? done : given.error, answer.ok);
    return answer.ok;
  } catch {
    say("the line does not answer", false);
    return false;
  }
}

function say(text, isGood) {
  const message = byId("message");
  message.textContent = text;
  message.className = `message ${isGood ? "good" : "bad"}`;
}

// Stations

function choose(name) {
  state.name = name;
  state.history = [];
  state.shown = 0;
  state.defects = "";
  state.edited = null;
  byId("picture").hidden = true;
  byId("no-picture").hidden = false;
  byId("recipe").replaceChildren();
  for (const button of byId("stations").children) {
    button.setAttribute("aria-pressed", String(button.textContent === name));
  }
  refresh();
}

async function begin() {
  try {
    const given = await read("/api/stations");
    state.stations = given.stations;
    state.canChange = given.can_change;
  } catch {
    setTimeout(begin, 1000);
    return;
  }
  byId("stations").replaceChildren(...state.stations.map((name) => {
    const button = make("button", name);
    button.type = "button";
    button.addEventListener("click", () => choose(name));
    return button;
  }));
  byId("token-form").hidden = !state.canChange;
  if (!state.canChange) say("Nothing can be changed: the line was started without a token.", false);
  choose(state.stations[0]);
  every(STATUS_MS, refreshStatus);
  every(PICTURE_MS, refreshPicture);
  every(SLOW_MS, refreshDefects);
}

function every(milliseconds, action) {
  const step = async () => {
    if (!document.hidden) {
      try { await action(); } catch { offline(); }
    }
    setTimeout(step, milliseconds);
  };
  setTimeout(step, milliseconds);
}

function refresh() {
  for (const action of [refreshStatus, refreshPicture, refreshDefects]) action().catch(offline);
}

function offline() {
  const health = byId("health");
  health.textContent = "no connection";
  health.className = "pill bad";
}

// Status

async function refreshStatus() {
  const name = state.name;
  const status = await read(path(""));
  if (name !== state.name) return;
  state.status = status;
  showHealth(status);
  showVerdict(status.newest);
  for (const one of ["good", "anomaly", "failure"]) put(one, count(status.verdicts[one] || 0));
  put("late", count(status.late));
  put("missed", count(status.missed));
  put("artifact", `${status.artifact}, ${status.runtime}, ${status.artifact_sha256.slice(0, 12)}`);
  put("threshold", digits(status.threshold));
  byId("trigger").hidden = !(status.can_trigger && state.canChange);
  showRecipes(status);
  showLatency(status.latency_ms);
  showParts(status.parts);
  await refreshHistory(name);
  showSlider();
  drawChart();
}

function showHealth(status) {
  const isWell = status.faults.length === 0;
  put("health", isWell ? "working" : "fault");
  byId("health").className = `pill ${isWell ? "good" : "bad"}`;
  const faults = byId("faults");
  if (faults.dataset.shown !== JSON.stringify(status.faults)) {
    faults.dataset.shown = JSON.stringify(status.faults);
    faults.replaceChildren(...status.faults.map((fault) => make("li", fault)));
  }
}

function showVerdict(newest) {
  const verdict = byId("verdict");
  if (newest === null) {
    verdict.textContent = "no verdict yet";
    verdict.className = "verdict";
    return;
  }
  const score = newest.score === null ? "" : `  ${digits(newest.score)}`;
  verdict.textContent = `${newest.state}${score}`;
  verdict.className = `verdict ${newest.state}`;
  const latency = newest.latency_ms === null ? "" : `, ${newest.latency_ms.toFixed(1)} ms`;
  const reason = newest.reason ? `: ${newest.reason}` : "";
  const regions = newest.regions.length === 1 ? "1 region" : `${newest.regions.length} regions`;
  put("frame", `No. ${newest.number}, ${newest.frame || "no frame"}, ${regions}${latency}${reason}`);
}

function showRecipes(status) {
  const recipe = byId("recipe");
  const names = status.recipes.includes(status.artifact)
    ? status.recipes : [status.artifact, ...status.recipes];
  const shown = JSON.stringify([names, status.artifact]);
  if (recipe.dataset.shown !== shown || recipe.children.length === 0) {
    const chosen = recipe.value;
    recipe.dataset.shown = shown;
    recipe.replaceChildren(...names.map((name) => {
      const option = make("option", name);
      option.value = name;
      return option;
    }));
    const isNew = recipe.dataset.artifact !== status.artifact;
    recipe.dataset.artifact = status.artifact;
    recipe.value = !isNew && names.includes(chosen) ? chosen : status.artifact;
  }
  byId("switch").disabled = !state.canChange || recipe.value === status.artifact;
}

function row(tag, cells) {
  const line = make("tr");
  line.append(...cells.map(([text, className]) => make(tag, text, className)));
  return line;
}

function showLatency(latency) {
  const head = row("th", [["Stage"], ["50 %"], ["90 %"], ["99 %"]]);
  const lines = Object.entries(latency).map(([stage, values]) =>
    row("td", [[stage], ...["50", "90", "99"].map((one) => [
      values[one] === undefined || values[one] === null ? "–" : values[one].toFixed(2)])]));
  byId("latency").replaceChildren(head, ...lines);
}

function showParts(parts) {
  const head = row("th", [["Part"], ["Kind"], ["Done"], ["Lost"], ["Errors"], ["Waiting"], ["State", "text"]]);
  const lines = parts.map((part) => {
    const settings = Object.entries(part.settings).map(([key, value]) => `${key} ${value}`);
    const text = part.fault || ["working", ...settings].join(", ");
    const counts = [part.done, part.lost, part.errors, part.waiting].map((one) => [count(one)]);
    return row("td", [[part.name], [part.kind], ...counts, [text, part.fault ? "text bad" : "text"]]);
  });
  byId("parts").replaceChildren(head, ...lines);
}

// Scores and threshold

async function refreshHistory(name) {
  const newest = state.status.newest;
  const last = state.history.length ? state.history[state.history.length - 1].number : 0;
  if (newest !== null && newest.number < last) state.history = []; // the line was started again
  const after = state.history.length ? last : 0;
  const given = await read(path(`/history?after=${after}`));
  if (name !== state.name) return;
  given.numbers.forEach((number, index) => state.history.push({
    number, score: given.scores[index], state: given.states[index],
  }));
  state.history = state.history.slice(-MOST_SCORES);
}

function range() {
  const scores = state.history.map((one) => one.score).filter((score) => score !== null);
  const threshold = state.status.threshold;
  let low = Math.min(threshold, ...scores);
  let high = Math.max(threshold, ...scores);
  const margin = (high - low || Math.abs(high) || 1) * 0.1;
  return [low - margin, high + margin];
}

function showSlider() {
  const slider = byId("slider");
  if (document.activeElement !== slider) {
    const [low, high] = range();
    slider.min = String(low);
    slider.max = String(high);
  }
  if (state.edited === null) {
    slider.value = String(state.status.threshold);
    if (document.activeElement !== byId("number")) byId("number").value = digits(state.status.threshold);
    put("preview", "");
  }
  const isEdited = state.edited !== null && state.edited !== state.status.threshold;
  byId("apply").disabled = !(state.canChange && isEdited);
  byId("reset").disabled = !isEdited;
}

let previewing = 0;
async function edit(value) {
  if (!Number.isFinite(value)) return;
  state.edited = value;
  showSlider();
  drawChart();
  const asked = ++previewing;
  try {
    const found = await read(path(`/preview?threshold=${value}`));
    if (asked !== previewing || state.edited === null) return;
    const changed = found.to_anomaly + found.to_good;
    put("preview", `${digits(value)} would change ${changed} of the last ${found.of} frames: `
      + `${found.to_anomaly} more rejected, ${found.to_good} more accepted`);
  } catch { offline(); }
}

function drawChart() {
  const canvas = byId("chart");
  const scale = window.devicePixelRatio || 1;
  const width = canvas.clientWidth;
  const height = canvas.clientHeight;
  if (!width || state.status === null) return;
  canvas.width = Math.round(width * scale);
  canvas.height = Math.round(height * scale);
  const draw = canvas.getContext("2d");
  const colours = getComputedStyle(document.documentElement);
  const colour = (name) => colours.getPropertyValue(name).trim();
  draw.scale(scale, scale);
  draw.clearRect(0, 0, width, height);
  const [low, high] = range();
  const y = (score) => height - 4 - (height - 8) * (score - low) / (high - low);
  const step = width / Math.max(1, state.history.length);
  const size = Math.max(2, Math.min(4, step));
  state.history.forEach((one, index) => {
    draw.fillStyle = colour(one.state === "good" ? "--good" : "--bad");
    const x = index * step;
    if (one.score === null) draw.fillRect(x, height - 3, size, 3);
    else draw.fillRect(x, y(one.score) - size / 2, size, size);
  });
  const line = (value, name, dashes) => {
    draw.strokeStyle = colour(name);
    draw.setLineDash(dashes);
    draw.beginPath();
    draw.moveTo(0, y(value));
    draw.lineTo(width, y(value));
    draw.stroke();
  };
  line(state.status.threshold, "--ink", []);
  if (state.edited !== null) line(state.edited, "--accent", [6, 4]);
}

// Pictures

async function refreshPicture() {
  const status = state.status;
  if (!status || !status.newest || byId("paused").checked) return;
  if (!status.newest.has_picture || status.newest.number === state.shown) return;
  const name = state.name;
  const heat = byId("heat").checked ? 1 : 0;
  const answer = await fetch(path(`/picture.jpg?heat=${heat}`), { cache: "no-store" });
  if (!answer.ok || name !== state.name) return;
  state.shown = Number(answer.headers.get("X-Verdict"));
  const url = URL.createObjectURL(await answer.blob());
  const picture = byId("picture");
  picture.src = url;
  picture.hidden = false;
  byId("no-picture").hidden = true;
  if (state.pictureUrl) URL.revokeObjectURL(state.pictureUrl);
  state.pictureUrl = url;
}

async function refreshDefects() {
  const name = state.name;
  const given = await read(path("/defects"));
  if (name !== state.name) return;
  const shown = given.defects.map((one) => `${one.at} ${one.number}`).join();
  if (shown === state.defects) return;
  state.defects = shown;
  byId("defects").replaceChildren(...given.defects.map((one) => {
    const figure = make("figure");
    if (one.has_picture) {
      const picture = make("img");
      picture.alt = `Rejected frame ${one.number}`;
      picture.loading = "lazy";
      picture.src = path(`/defects/${one.number}.jpg?at=${one.at}`);
      figure.append(picture);
    }
    const when = new Date(one.at * 1000).toLocaleTimeString();
    const what = one.score === null ? one.reason : `score ${digits(one.score)}`;
    const words = [`No. ${one.number}`, when, what, one.frame].filter((word) => word);
    figure.append(make("figcaption", words.join(", ")));
    return figure;
  }));
  if (!given.defects.length) byId("defects").append(make("p", "none", "soft"));
}

// What can be pressed

byId("slider").addEventListener("input", (event) => {
  byId("number").value = digits(Number(event.target.value));
  edit(Number(event.target.value));
});
byId("number").addEventListener("input", (event) => {
  if (event.target.value === "") return;
  byId("slider").value = event.target.value;
  edit(Number(event.target.value));
});
byId("reset").addEventListener("click", () => { state.edited = null; showSlider(); drawChart(); });
byId("apply").addEventListener("click", async () => {
  const value = state.edited;
  if (await change("/threshold", { value }, `The threshold is ${digits(value)} now.`)) {
    state.edited = null;
    await refreshStatus().catch(offline);
  }
});
byId("recipe").addEventListener("change", () => {
  byId("switch").disabled = !state.canChange || byId("recipe").value === state.status.artifact;
});
byId("switch").addEventListener("click", () => {
  const name = byId("recipe").value;
  change("/recipe", { name }, `Changing to ${name}; the old recipe works until the new one has scored.`);
});
byId("trigger").addEventListener("click", () => change("/trigger", {}, "Triggered."));
byId("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  state.token = byId("token").value;
  sessionStorage.setItem("token", state.token);
  byId("token").value = "";
  say("The token is kept until this tab is closed.", true);
});
byId("heat").addEventListener("change", () => { state.shown = 0; refreshPicture().catch(offline); });
window.addEventListener("resize", drawChart);
document.addEventListener("visibilitychange", () => { if (!document.hidden && state.name) refresh(); });

begin();
