// The latent map: pan, zoom, and what is known of each image, by pointer, touch or keyboard.
(function () {
  "use strict";

  // Paper shows everything: what is folded on the screen is unfolded while the page is printed.
  let unfolded = [];
  addEventListener("beforeprint", () => {
    unfolded = [...document.querySelectorAll("details:not([open])")];
    unfolded.forEach((part) => { part.open = true; });
  });
  addEventListener("afterprint", () => { unfolded.forEach((part) => { part.open = false; }); });

  const source = document.getElementById("map-data");
  if (!source) return;
  const data = JSON.parse(source.textContent);
  const [X, Y, TRUE, PREDICTED, SUBJECT, UNSEEN] = [0, 1, 2, 3, 4, 5];
  const COLOURS = 8, SHAPES = 7, MARKER = 1.15, LARGEST_ZOOM = 40, STEP = 1.4, NEAR = 22;
  const plot = document.getElementById("map-plot");
  const marks = [...document.getElementById("map-points").children];
  const card = document.getElementById("map-card");
  const legend = document.getElementById("map-legend");
  const colour = document.getElementById("map-colour");
  const who = document.getElementById("map-subject");
  const view = { zoom: 1, x: 0, y: 0 };
  let chosen = -1, held = false, shown = data.points.map(() => true);

  // Colours and shapes -------------------------------------------------------------------------------------------
  const groupings = {
    label: { names: data.labels, of: (p) => p[TRUE] },
    subject: { names: data.subjects, of: (p) => p[SUBJECT] },
    right: { names: ["right", "wrong"], of: (p) => (p[TRUE] === p[PREDICTED] ? 0 : 1) },
  };

  function paint() {
    const { names, of } = groupings[colour.value];
    data.points.forEach((point, i) => {
      const group = of(point);
      marks[i].setAttribute("href", `#m${group % SHAPES}`);
      const state = (point[UNSEEN] ? " unseen" : "") + (shown[i] ? "" : " faint") + (i === chosen ? " chosen" : "");
      marks[i].setAttribute("class", `s${group % COLOURS}${state}`);
    });
    legend.replaceChildren(...names.map((name, group) => {
      const item = document.createElement("li");
      item.innerHTML = `<svg class="key s${group % COLOURS}" viewBox="-8 -8 16 16" width="16" height="16"` +
        ` aria-hidden="true"><use href="#m${group % SHAPES}"/></svg>`;
      item.append(" " + name);
      return item;
    }));
  }

  function filter() {
    const value = who ? who.value : "";
    shown = data.points.map((p) => value === "" || (value === "unseen" ? p[UNSEEN] === 1 : p[SUBJECT] === +value));
    if (chosen >= 0 && !shown[chosen]) { held = false; choose(-1); }
    paint();
  }

  // The view: places move, markers keep their size ----------------------------------------------------------------
  const pixel = () => data.size / Math.max(1, plot.getBoundingClientRect().width);
  const placeOf = (i) => [data.points[i][X] * view.zoom + view.x, data.points[i][Y] * view.zoom + view.y];

  function draw() {
    const furthest = data.size * (1 - view.zoom);
    view.x = Math.min(0, Math.max(furthest, view.x));
    view.y = Math.min(0, Math.max(furthest, view.y));
    const scale = (MARKER * pixel()).toFixed(2);
    marks.forEach((mark, i) => {
      const [x, y] = placeOf(i);
      mark.setAttribute("transform", `translate(${x.toFixed(1)},${y.toFixed(1)}) scale(${scale})`);
    });
    plot.dataset.zoom = view.zoom.toFixed(3);
  }

  function zoom(factor, x = data.size / 2, y = data.size / 2) {
    const next = Math.min(LARGEST_ZOOM, Math.max(1, view.zoom * factor));
    view.x = x - (x - view.x) * (next / view.zoom);
    view.y = y - (y - view.y) * (next / view.zoom);
    view.zoom = next;
    draw();
  }

  function move(x, y) { view.x += x; view.y += y; draw(); }

  function reset() { Object.assign(view, { zoom: 1, x: 0, y: 0 }); draw(); }

  function bringIntoView(i) {
    const [x, y] = placeOf(i), edge = data.size * 0.08;
    const shift = (place) => (place < edge ? edge - place : Math.min(0, data.size - edge - place));
    if (shift(x) || shift(y)) move(shift(x), shift(y));
  }

  // One image ------------------------------------------------------------------------------------------------------
  const element = (name, text, className) => Object.assign(document.createElement(name), {
    textContent: text || "", className: className || "",
  });

  function choose(i) {
    if (i === chosen) return;
    if (chosen >= 0) marks[chosen].classList.remove("chosen");
    chosen = i;
    if (i < 0) {
      card.replaceChildren(element("p", "Point at an image, or press the arrow keys with the map in focus.", "quiet"));
      return;
    }
    marks[i].classList.add("chosen");
    card.replaceChildren(...describe(i));
  }

  function describe(i) {
    const point = data.points[i], parts = [];
    if (data.faces) parts.push(face(i));
    const line = element("p");
    line.append(element("strong", data.labels[point[TRUE]]));
    line.append(point[TRUE] === point[PREDICTED] ? ", recognised" : `, taken for ${data.labels[point[PREDICTED]]}`);
    const whose = data.subjects.length ? `Subject ${data.subjects[point[SUBJECT]]}` : "";
    const unseen = point[UNSEEN] ? data.unseen : "";
    parts.push(line, element("p", [whose + unseen, data.names[i]].filter(Boolean).join(" · "), "quiet"));
    const list = element("dl", "", "proba");
    data.labels.forEach((label, k) => {
      const said = k === point[PREDICTED] ? " said" : "";
      const bar = element("dd", "", "bar" + said);
      bar.append(element("span"));
      bar.firstChild.style.width = `${data.proba[i][k] / 10}%`;
      list.append(element("dt", label, said.trim()), bar, element("dd", `${Math.round(data.proba[i][k] / 10)} %`, said.trim()));
    });
    parts.push(list);
    return parts;
  }

  function face(i) {
    const { columns, rows } = data.faces, box = element("div", "", "face");
    const share = (place, number) => (number > 1 ? (100 * place) / (number - 1) : 0);
    box.style.backgroundPosition = `${share(i % columns, columns)}% ${share(Math.floor(i / columns), rows)}%`;
    box.setAttribute("role", "img");
    box.setAttribute("aria-label", `The face: ${data.labels[data.points[i][TRUE]]}`);
    return box;
  }

  function nearest(x, y, within) {
    let best = -1, least = within * within;
    data.points.forEach((_, i) => {
      const [px, py] = placeOf(i), distance = (px - x) ** 2 + (py - y) ** 2;
      if (shown[i] && distance < least) [best, least] = [i, distance];
    });
    return best;
  }

  // The next image in a direction: near, and rather ahead than aside.
  function step(dx, dy) {
    const from = chosen >= 0 ? placeOf(chosen) : [data.size / 2, data.size / 2];
    if (chosen < 0) return nearest(from[0], from[1], Infinity);
    let best = chosen, least = Infinity;
    data.points.forEach((_, i) => {
      const [x, y] = placeOf(i), ahead = (x - from[0]) * dx + (y - from[1]) * dy;
      const aside = Math.abs((x - from[0]) * dy) + Math.abs((y - from[1]) * dx), cost = ahead + 2 * aside;
      if (shown[i] && i !== chosen && ahead > 0 && aside <= 2 * ahead && cost < least) [best, least] = [i, cost];
    });
    return best;
  }

  // Pointer, touch and wheel ---------------------------------------------------------------------------------------
  const inMap = (event) => {
    const box = plot.getBoundingClientRect();
    return [(event.clientX - box.left) * pixel(), (event.clientY - box.top) * pixel()];
  };
  const fingers = new Map();
  let travelled = 0;

  plot.addEventListener("pointerdown", (event) => {
    fingers.set(event.pointerId, inMap(event));
    travelled = 0;
    plot.setPointerCapture(event.pointerId);
  });
  plot.addEventListener("pointermove", (event) => {
    const [x, y] = inMap(event), before = fingers.get(event.pointerId);
    if (!before) {
      if (!held) choose(nearest(x, y, NEAR * pixel()));
      return;
    }
    if (fingers.size === 1) {
      travelled += Math.hypot(x - before[0], y - before[1]);
      plot.classList.toggle("dragged", travelled > 4 * pixel());
      move(x - before[0], y - before[1]);
    } else {
      const other = [...fingers.entries()].find(([id]) => id !== event.pointerId)[1];
      const [was, is] = [before, [x, y]].map(([a, b]) => Math.hypot(a - other[0], b - other[1]));
      zoom(is / Math.max(1, was), other[0], other[1]);
    }
    fingers.set(event.pointerId, [x, y]);
  });
  for (const kind of ["pointerup", "pointercancel"]) {
    plot.addEventListener(kind, (event) => {
      fingers.delete(event.pointerId);
      plot.classList.remove("dragged");
      if (kind === "pointerup" && travelled <= 4 * pixel()) {  // a click holds what it hits, or lets go
        const [x, y] = inMap(event), hit = nearest(x, y, NEAR * pixel());
        choose(hit);
        held = hit >= 0;
      }
    });
  }
  plot.addEventListener("pointerleave", () => { if (!held && document.activeElement !== plot) choose(-1); });
  // The wheel alone scrolls the page; with ctrl, as a pinch on a touchpad sends it, it zooms.
  plot.addEventListener("wheel", (event) => {
    if (!event.ctrlKey && !event.metaKey) return;
    event.preventDefault();
    zoom(Math.exp(-event.deltaY / 300), ...inMap(event));
  }, { passive: false });

  // Keyboard -------------------------------------------------------------------------------------------------------
  const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

  plot.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const arrow = ARROWS[event.key], pan = data.size / 8;
    if (arrow && event.shiftKey) move(-arrow[0] * pan, -arrow[1] * pan);
    else if (arrow) { choose(step(...arrow)); held = chosen >= 0; if (held) bringIntoView(chosen); }
    else if (event.key === "+" || event.key === "=") zoomAtChosen(STEP);
    else if (event.key === "-") zoomAtChosen(1 / STEP);
    else if (event.key === "0") reset();
    else if (event.key === "Escape") { held = false; choose(-1); }
    else return;
    event.preventDefault();
  });

  function zoomAtChosen(factor) { if (chosen >= 0) zoom(factor, ...placeOf(chosen)); else zoom(factor); }

  document.getElementById("map-in").addEventListener("click", () => zoomAtChosen(STEP));
  document.getElementById("map-out").addEventListener("click", () => zoomAtChosen(1 / STEP));
  document.getElementById("map-reset").addEventListener("click", reset);
  colour.addEventListener("change", paint);
  if (who) who.addEventListener("change", filter);
  new ResizeObserver(draw).observe(plot);
  draw();
})();
