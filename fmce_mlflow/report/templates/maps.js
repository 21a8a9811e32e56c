"use strict";
(() => {
  const byId = (id) => document.getElementById(id);
  const data = JSON.parse(byId("data").textContent);
  const cells = [...document.querySelectorAll(".cell")];
  const images = data.captions.length;
  const slider = byId("slider"), play = byId("play");
  let moment = data.moments.length - 1, module = data.modules.length - 1, image = 0, timer = null;

  const cellOf = (m, i) => cells[m * images + i];
  const view = (svg, [width, height], column, row) => {
    const f = data.frame;
    svg.setAttribute("viewBox", `${column * (width + 2 * f) + f} ${row * (height + 2 * f) + f} ${width} ${height}`);
  };
  const fill = (svg, href, [width, height], columns, rows) => {
    const picture = svg.querySelector("image");
    picture.setAttribute("href", href);
    picture.setAttribute("width", columns * (width + 2 * data.frame));
    picture.setAttribute("height", rows * (height + 2 * data.frame));
  };
  const cursors = (scope, places) => {
    for (const line of places.length ? scope.querySelectorAll(".cursor") : []) {
      line.setAttribute("x1", places[moment]);
      line.setAttribute("x2", places[moment]);
    }
  };
  const tiles = Array.from({ length: Math.max(...data.modules.map((one) => one.channels.length)) }, () => {
    const figure = document.createElement("figure"), caption = document.createElement("figcaption");
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    svg.append(document.createElementNS(svg.namespaceURI, "image"));
    svg.setAttribute("class", "frame");
    svg.setAttribute("role", "img");
    figure.append(svg, caption);
    byId("tiles").append(figure);
    return { figure, svg, caption };
  });

  const showMoment = () => {
    const now = data.moments[moment], one = data.modules[module];
    byId("moment")?.replaceChildren(now.name);
    byId("figures")?.replaceChildren(...now.figures.map(([name, value]) => {
      const span = document.createElement("span"), bold = document.createElement("b");
      bold.textContent = value;
      span.append(`${name} `, bold);
      return span;
    }));
    for (const cell of cells) view(cell.firstChild, data.modules[cell.dataset.module].size, moment, 0);
    for (const text of document.querySelectorAll("[data-fmcs]")) {
      text.textContent = data.modules[text.dataset.fmcs].fmcs[moment];
    }
    view(byId("large-map"), one.size, moment, 0);
    one.channels.forEach((_, k) => view(tiles[k].svg, one.tile, moment, k));
    for (const figure of document.querySelectorAll("figure")) {
      const drift = figure.dataset.drift;
      cursors(figure, drift === undefined ? data.loss : data.modules[drift].drift);
    }
    if (slider) {
      slider.value = moment;
      slider.setAttribute("aria-valuetext", now.name);
    }
  };
  const showChoice = () => {
    const one = data.modules[module], cell = cellOf(module, image), strip = cell.querySelector("image");
    for (const other of cells) {
      other.setAttribute("aria-pressed", other === cell);
      other.tabIndex = other === cell ? 0 : -1;
    }
    byId("which").textContent = one.name;
    byId("which-image").textContent = data.captions[image];
    fill(byId("large-map"), strip.getAttribute("href"), one.size, data.moments.length, 1);
    const photo = document.querySelectorAll(".photo image")[image];
    if (photo) byId("large-photo").querySelector("image").setAttribute("href", photo.getAttribute("href"));
    tiles.forEach(({ figure, svg, caption }, k) => {
      figure.hidden = k >= one.channels.length;
      if (figure.hidden) return;
      caption.textContent = `channel ${one.channels[k]}`;
      svg.setAttribute("aria-label", `Channel ${one.channels[k]} of ${one.name}`);
      fill(svg, one.sheets[image], one.tile, data.moments.length, one.channels.length);
    });
    for (const figure of document.querySelectorAll("[data-drift]")) {
      figure.hidden = Number(figure.dataset.drift) !== module;
    }
    showMoment();
  };
  const stop = () => {
    clearInterval(timer);
    timer = null;
    play.textContent = "Play";
    play.setAttribute("aria-pressed", "false");
  };
  const choose = (m, i) => {
    module = Math.min(Math.max(m, 0), data.modules.length - 1);
    image = Math.min(Math.max(i, 0), images - 1);
    showChoice();
  };
  const STEPS = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };

  for (const cell of cells) {
    const label = cell.firstChild.getAttribute("aria-label");
    cell.setAttribute("role", "button");
    cell.setAttribute("aria-label", label);
    cell.addEventListener("click", () => choose(Number(cell.dataset.module), Number(cell.dataset.image)));
    cell.addEventListener("keydown", (event) => {
      const step = STEPS[event.key];
      if (!step) return;
      event.preventDefault();
      choose(module + step[0], image + step[1]);
      cellOf(module, image).focus();
    });
  }
  if (slider) {
    byId("bar").hidden = false;
    slider.addEventListener("input", () => {
      stop();
      moment = Number(slider.value);
      showMoment();
    });
    play.addEventListener("click", () => {
      if (timer !== null) return stop();
      play.textContent = "Pause";
      play.setAttribute("aria-pressed", "true");
      moment = moment === data.moments.length - 1 ? -1 : moment;
      const step = () => {
        moment += 1;
        showMoment();
        if (moment === data.moments.length - 1) stop();
      };
      timer = setInterval(step, 300);
      step();
    });
  }
  byId("detail").hidden = false;
  showChoice();
})();
