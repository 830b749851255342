"use strict";
// What the page says stands there without this script; the script lets its reader sort, filter, turn the sheet, put
// two pictures side by side and vote. All text goes in as text, never as HTML.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const at = (id) => document.getElementById(id);
  const make = (tag, properties = {}, ...children) => {
    const element = Object.assign(document.createElement(tag), properties);
    element.append(...children);
    return element;
  };
  document.body.classList.add("with-script");
  const ARROWS = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }; // down, right

  // -- the table: sorted by its columns, filtered by text
  const table = at("table");
  const body = table.tBodies[0];
  const valueOf = (row, column) => {
    const cell = row.cells[column];
    if (!("value" in cell.dataset)) return cell.textContent.trim();
    return cell.dataset.value === "" ? NaN : Number(cell.dataset.value);
  };
  const sort = (heading) => {
    const down = heading.ariaSort !== "descending";
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    heading.ariaSort = down ? "descending" : "ascending";
    const sign = down ? -1 : 1;
    const rows = [...body.rows].map((row) => [valueOf(row, heading.cellIndex), row]);
    rows.sort(([a], [b]) => {
      if (typeof a === "string") return sign * a.localeCompare(b, undefined, { numeric: true });
      if (isNaN(a) || isNaN(b)) return isNaN(a) - isNaN(b); // what has no figure stays below
      return sign * (a - b);
    });
    body.append(...rows.map(([, row]) => row));
  };
  for (const heading of table.tHead.rows[0].cells) {
    const button = make("button", { type: "button" }, ...heading.childNodes);
    button.addEventListener("click", () => sort(heading));
    heading.append(button);
  }
  at("filter").addEventListener("input", ({ target }) => {
    const wanted = target.value.toLowerCase().split(/\s+/);
    let shown = 0;
    for (const row of body.rows) {
      row.hidden = !wanted.every((word) => row.textContent.toLowerCase().includes(word));
      shown += !row.hidden;
    }
    at("filtered").textContent = target.value ? `${shown} of ${body.rows.length}` : "";
  });

  // -- the charts: along a line with the arrows to the sides, from line to line with those up and down
  for (const chart of document.querySelectorAll(".walk")) {
    const readout = chart.closest("figure").querySelector(".readout");
    const lines = [...chart.querySelectorAll(".series")].reverse() // the choice first
      .map((line) => ("text" in line.dataset ? [line] : [...line.querySelectorAll("[data-text]")]))
      .filter((line) => line.length);
    let [line, point] = [0, 0];
    const leave = () => {
      for (const marked of chart.querySelectorAll(".active, .here")) marked.classList.remove("active", "here");
    };
    const show = (element) => {
      leave();
      element.closest(".series").classList.add("active");
      element.classList.add("here");
      readout.textContent = element.dataset.text;
    };
    const go = (down, right) => {
      const before = lines[line][point];
      line = (line + down + lines.length) % lines.length;
      point = down ? Math.max(0, lines[line].findIndex((next) => next.dataset.text && next.getAttribute("cx") === before.getAttribute("cx")))
        : (point + right + lines[line].length) % lines[line].length;
      show(lines[line][point]);
    };
    if (!lines.length) continue;
    chart.tabIndex = 0;
    chart.setAttribute("role", "application"); // or a screen reader keeps the arrows for itself
    chart.addEventListener("focus", () => show(lines[line][point]));
    chart.addEventListener("blur", leave);
    chart.addEventListener("keydown", (event) => {
      if (!ARROWS[event.key]) return;
      event.preventDefault();
      const [down, right] = ARROWS[event.key];
      go(lines.every((each) => each.length === 1) ? down || right : down, right);
    });
    chart.addEventListener("pointerover", ({ target }) => {
      const element = target.closest("[data-text]");
      if (element) show(element);
    });
    chart.addEventListener("pointerleave", () => { if (document.activeElement !== chart) leave(); });
  }

  // -- the sheet: any two of training, step, prompt and seed
  const pictures = new Map();
  for (const [row, step, prompt, seed, source, figures] of data.pictures) {
    const shown = source.startsWith("data:") ? source : at(source).src; // those of the page are not there twice
    pictures.set([row, step, prompt, seed].join(), { row, step, prompt, seed, source: shown, figures });
  }
  const steps = [...new Set(data.pictures.map((picture) => picture[1]))].sort((a, b) => a - b);
  const axes = {
    training: { values: data.rows.map((_, i) => i), text: (i) => data.rows[i].label },
    step: { values: steps, text: (step) => `step ${step}` },
    prompt: { values: data.prompts.map((_, i) => i), text: (i) => data.prompts[i] },
    seed: { values: data.seeds, text: (seed) => `seed ${seed}` },
  };
  const TAKEN = -1; // of each training the step that was taken
  const state = { rows: "training", columns: "prompt", training: 0, step: TAKEN, prompt: 0, seed: data.seeds[0] };
  const pictureOf = (place) => {
    const step = place.step === TAKEN ? data.rows[place.training].step : place.step;
    return pictures.get([place.training, step, place.prompt, place.seed].join());
  };
  const describe = (picture) => {
    const figures = Object.entries(picture.figures).map(([name, value]) => `${name} ${value}`);
    const { label } = data.rows[picture.row];
    return [label, `step ${picture.step}`, data.prompts[picture.prompt], `seed ${picture.seed}`, ...figures].join(", ");
  };

  let cells = []; // of the sheet, by row and column: the picture and its button
  let first = null; // the picture that another is to be put beside
  let open = null; // the place of the picture that the viewer shows

  const select = (name, options, chosen, change) => {
    const list = make("select", { name });
    for (const [value, text] of options) list.append(make("option", { value, selected: value === chosen }, text));
    list.addEventListener("change", () => change(list.value));
    return make("label", {}, name, list);
  };
  const controls = () => {
    const names = Object.keys(axes);
    const named = names.map((name) => [name, name]);
    const turn = (axis, other) => (name) => {
      if (state[other] === name) state[other] = state[axis];
      state[axis] = name;
      if (state.step === TAKEN && [state.rows, state.columns].includes("step")) state.step = steps[0];
      draw();
    };
    const form = [
      select("rows", named, state.rows, turn("rows", "columns")),
      select("columns", named, state.columns, turn("columns", "rows")),
    ];
    for (const name of names.filter((axis) => axis !== state.rows && axis !== state.columns)) {
      if (name === "step") {
        const text = make("output");
        const slider = make("input", { type: "range", name, min: -1, max: steps.length - 1, step: 1 });
        slider.value = steps.indexOf(state.step);
        const tell = () => {
          text.textContent = slider.ariaValueText = state.step === TAKEN ? "as taken" : axes.step.text(state.step);
        };
        tell();
        slider.addEventListener("input", () => {
          state.step = Number(slider.value) < 0 ? TAKEN : steps[slider.value];
          tell();
          fill();
        });
        form.push(make("label", {}, "step", slider, text));
      } else {
        const options = axes[name].values.map((value) => [String(value), axes[name].text(value)]);
        form.push(select(name, options, String(state[name]), (value) => { state[name] = Number(value); fill(); }));
      }
    }
    const used = document.activeElement?.name;
    at("axes").replaceChildren(...form);
    if (used) at("axes").elements[used]?.focus(); // or one who works by keyboard would begin again at the top
  };
  const headed = (axis, value) => {
    if (axis !== "training") return [axes[axis].text(value)];
    const { label, mark, score } = data.rows[value];
    const badge = mark ? [" ", make("span", { className: mark === "take this" ? "badge" : "badge quiet" }, mark)] : [];
    return [label, ...badge, " ", make("span", { className: "note" }, score === null ? "" : `score ${score.toFixed(2)}`)];
  };
  const fill = () => {
    const { rows, columns } = state;
    const head = make("tr", {}, make("th", { scope: "col" }, rows));
    for (const value of axes[columns].values) head.append(make("th", { scope: "col" }, ...headed(columns, value)));
    const lines = [];
    cells = axes[rows].values.map((row, i) => {
      const line = make("tr", {}, make("th", { scope: "row" }, ...headed(rows, row)));
      if (rows === "training" && data.rows[row].mark === "take this") line.className = "chosen";
      lines.push(line);
      return axes[columns].values.map((column, j) => {
        const picture = pictureOf({ ...state, [rows]: row, [columns]: column });
        if (!picture) {
          line.append(make("td", {}, make("span", { className: "note" }, "not drawn")));
          return null;
        }
        const image = make("img", { src: picture.source, alt: describe(picture), width: 128 });
        const button = make("button", { type: "button", tabIndex: -1 }, image);
        button.ariaPressed = String(picture === first);
        button.addEventListener("click", () => show(i, j));
        const notes = ["likeness", "obedience"].filter((name) => picture.figures[name] !== undefined)
          .map((name) => make("span", { className: "note" }, `${name} ${picture.figures[name]}`));
        line.append(make("td", {}, button, ...notes));
        return { picture, button };
      });
    });
    const entry = cells.flat().find((cell) => cell);
    if (entry) entry.button.tabIndex = 0; // one stop of the Tab key; arrows walk from there
    at("grid").replaceChildren(make("table", {}, make("thead", {}, head), make("tbody", {}, ...lines)));
  };
  const draw = () => { controls(); fill(); };

  const neighbour = ([i, j], [down, right]) => {
    for (i += down, j += right; cells[i]?.[j] !== undefined; i += down, j += right) if (cells[i][j]) return [i, j];
    return null;
  };
  at("grid").addEventListener("keydown", (event) => {
    const from = cells.flatMap((row, i) => row.map((cell, j) => [i, j, cell])).find(([, , cell]) => cell?.button === document.activeElement);
    const to = ARROWS[event.key] && from && neighbour(from, ARROWS[event.key]);
    if (!to) return;
    event.preventDefault();
    from[2].button.tabIndex = -1;
    const { button } = cells[to[0]][to[1]];
    button.tabIndex = 0;
    button.focus();
  });

  // -- the viewer: one picture, or two under a slider
  const viewer = at("viewer");
  const show = (i, j) => {
    open = [i, j];
    const { picture } = cells[i][j];
    const image = make("img", { src: picture.source, alt: describe(picture) });
    if (first && first !== picture) {
      const over = make("img", { src: first.source, alt: describe(first), className: "over-it" });
      const slider = make("input", { type: "range", min: 0, max: 100, value: 50, ariaLabel: "How much of the first picture is shown" });
      const cut = () => { over.style.clipPath = `inset(0 ${100 - slider.value}% 0 0)`; };
      slider.addEventListener("input", cut);
      cut();
      at("stage").replaceChildren(make("div", { className: "both" }, image, over), slider);
      at("stage").firstChild.style.position = "relative";
      at("caption").textContent = `Left: ${describe(first)}. Right: ${describe(picture)}.`;
    } else {
      at("stage").replaceChildren(image);
      at("caption").textContent = describe(picture);
    }
    at("beside").hidden = Boolean(first && first !== picture);
    if (!viewer.open) viewer.showModal();
  };
  viewer.addEventListener("keydown", (event) => {
    if (event.target.type === "range" || !ARROWS[event.key]) return;
    const to = neighbour(open, ARROWS[event.key]);
    if (to) { event.preventDefault(); show(...to); }
  });
  viewer.addEventListener("close", () => {
    const { picture, button } = cells[open[0]][open[1]];
    if (picture !== first) first = null;
    mark();
    button.focus();
  });
  const mark = () => {
    at("marked").textContent = first ? `Choose what to put beside ${describe(first)}.` : "";
    for (const cell of cells.flat()) if (cell) cell.button.ariaPressed = String(cell.picture === first);
  };
  at("beside").addEventListener("click", () => {
    first = cells[open[0]][open[1]].picture;
    viewer.close();
  });
  at("close").addEventListener("click", () => { first = null; viewer.close(); });

  // -- the blind vote
  const KEY = `pseudoword votes ${data.id}`;
  const voted = () => { try { return JSON.parse(localStorage.getItem(KEY)) || []; } catch { return []; } };
  let votes = voted();
  let asked = null;
  const candidates = (place) => axes.training.values.map((training) => pictureOf({ ...place, training })).filter((picture) => picture);
  const places = data.prompts.flatMap((_, prompt) => data.seeds.map((seed) => ({ prompt, seed, step: TAKEN })))
    .filter((place) => candidates(place).length > 1);
  const quoted = (value) => `"${String(value).replaceAll('"', '""')}"`;
  const tell = () => {
    at("votes").textContent = votes.length ? `${votes.length} vote${votes.length > 1 ? "s" : ""}` : "";
    for (const id of ["save", "forget"]) at(id).hidden = !votes.length;
    const lines = ["prompt,seed,left,right,winner,left_score,right_score", ...votes.map((vote) => vote.map(quoted).join())];
    at("save").href = `data:text/csv;charset=utf-8,${encodeURIComponent(lines.join("\n") + "\n")}`;
  };
  const ask = () => {
    if (!places.length) { at("ballot").replaceChildren("There are no two pictures of equal prompt and noise."); return; }
    const place = places[Math.floor(Math.random() * places.length)];
    const [left, right] = candidates(place).map((picture) => [Math.random(), picture]).sort(([a], [b]) => a - b).map(([, picture]) => picture);
    asked = { place, left, right };
    const choice = (key, ...content) => {
      const button = make("button", { type: "button" }, ...content);
      button.addEventListener("click", () => vote(key));
      return button;
    };
    const pictured = (picture, key) => choice(key, make("img", { src: picture.source, alt: `Picture ${key}` }), key);
    const used = [...at("ballot").querySelectorAll("button")].indexOf(document.activeElement);
    at("ballot").replaceChildren(make("p", {}, data.prompts[place.prompt]), pictured(left, "1"), pictured(right, "2"), make("p", {}, choice("0", "0: neither is better")));
    at("ballot").querySelectorAll("button")[Math.max(used, 0)].focus(); // the keys are heard where the focus is
  };
  const vote = (key) => {
    const { place, left, right } = asked;
    const [a, b] = [left, right].map((picture) => data.rows[picture.row]);
    const winner = { 0: "", 1: a.label, 2: b.label }[key];
    votes.push([data.prompts[place.prompt], place.seed, a.label, b.label, winner, a.score ?? "", b.score ?? ""]);
    try { localStorage.setItem(KEY, JSON.stringify(votes)); } catch { /* kept until the page is closed */ }
    tell();
    ask();
  };
  at("start").addEventListener("click", () => { at("start").hidden = true; ask(); });
  at("forget").addEventListener("click", () => { votes = []; localStorage.removeItem(KEY); tell(); });
  at("vote").addEventListener("keydown", ({ key, repeat, ctrlKey, metaKey, altKey }) => {
    if (repeat || ctrlKey || metaKey || altKey) return; // a key that is held, or a shortcut of the browser such as zoom
    if (asked && ["0", "1", "2"].includes(key)) vote(key);
  });
  draw();
  tell();
})();
