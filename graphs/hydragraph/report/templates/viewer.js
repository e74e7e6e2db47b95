"use strict";
// Draws each cluster's picture. Positions come from the data; text goes to the canvas or into textContent, never into HTML.
(() => {
  const shapes = JSON.parse(document.getElementById("shapes").textContent);
  const WIDTH = 1000, HEIGHT = 640, TOP = 40; // the data's box is 1000 x 560, in the middle of the canvas
  const make = (tag, text, parent) => {
    const element = document.createElement(tag);
    if (text !== undefined) element.textContent = text;
    if (parent) parent.append(element);
    return element;
  };
  const glyph = (kind) => {
    const [svg, use] = ["svg", "use"].map((tag) => document.createElementNS("http://www.w3.org/2000/svg", tag));
    svg.setAttribute("class", `glyph kind-${kind % 8}`);
    svg.setAttribute("aria-hidden", "true");
    use.setAttribute("href", `#shape-${kind % shapes.length}`);
    svg.append(use);
    return svg;
  };

  function picture(figure) {
    const data = JSON.parse(document.getElementById(figure.dataset.picture).textContent);
    const canvas = figure.querySelector("canvas"), panel = figure.querySelector(".panel");
    const search = figure.querySelector("input"), pen = canvas.getContext("2d");
    const titles = new Map(data.kinds), shown = new Set(titles.keys());
    const crowd = Math.min(1, Math.max(0.5, Math.sqrt(110 / (data.accounts.length + data.identifiers.length))));
    const accounts = data.accounts.map(([label, x, y, core, closed, bits, seen, end]) =>
      ({ account: true, label, x, y: y + TOP, core, closed, bits, seen, end, size: 6 * crowd, links: [] }));
    const identifiers = data.identifiers.map(([label, x, y, kind, number, members, whole, bits]) =>
      ({ label, x, y: y + TOP, kind, number, members, whole, bits, size: 0, links: [] }));
    const links = [];
    for (let i = 0; i < data.links.length; i += 3) {
      const link = { from: accounts[data.links[i]], to: identifiers[data.links[i + 1]], count: data.links[i + 2] };
      for (const list of [links, link.from.links, link.to.links]) list.push(link);
    }
    for (const node of identifiers) node.size = Math.min(14, 4 + Math.sqrt(node.links.length) * 1.5) * crowd;
    const nodes = [...identifiers, ...accounts];
    const byMembers = [...identifiers].sort((a, b) => b.members - a.members || a.number - b.number);
    let scale = 1, left = 0, top = 0, hover = null, chosen = null, found = null, grip = null, queued = false, near = false;
    const seen = (node) => node.account || shown.has(node.kind);
    const name = (node) => node.account ? node.label : `${titles.get(node.kind)} ${node.label}`;
    const redraw = () => {
      if (queued || !near) return;
      queued = true;
      requestAnimationFrame(() => { queued = false; draw(); });
    };

    function draw() {
      const style = getComputedStyle(document.documentElement), known = new Map();
      const colour = (key) => { // asked once a picture: asking for each of thousands of nodes is slow
        if (!known.has(key)) known.set(key, style.getPropertyValue(`--${key}`).trim());
        return known.get(key);
      };
      const ratio = Math.min(window.devicePixelRatio || 1, 2), wide = canvas.clientWidth;
      if (!wide) return;
      const across = canvas.width = Math.round(wide * ratio), down = canvas.height = Math.round(wide * ratio * HEIGHT / WIDTH);
      const unit = across / WIDTH, zoom = unit * scale, grown = unit * scale ** 0.45 * Math.max(1, 1.15 / (unit / ratio) ** 0.5);
      const at = (node) => [(node.x - left) * zoom, (node.y - top) * zoom];
      const focus = chosen || hover, beside = new Set(focus ? focus.links.flatMap((l) => [l.from, l.to]) : []);
      if (focus) beside.add(focus);
      const paint = (fill, stroke, width) => {
        pen.strokeStyle = colour(stroke);
        pen.lineWidth = width * ratio;
        if (fill) { pen.fillStyle = colour(fill); pen.fill(); }
        pen.stroke();
      };
      const faded = (node) => (focus && !beside.has(node)) || (found && !focus && !found.has(node));

      pen.lineWidth = Math.max(1, 0.9 * ratio);
      for (const strong of [false, true]) {
        pen.strokeStyle = colour(strong ? "chosen" : "link-line");
        pen.globalAlpha = strong ? 0.95 : focus || found ? 0.12 : Math.max(0.2, 0.55 - links.length / 4000);
        pen.beginPath();
        for (const link of links) {
          if (!shown.has(link.to.kind) || strong !== (focus === link.from || focus === link.to)) continue;
          pen.moveTo(...at(link.from)); pen.lineTo(...at(link.to));
        }
        pen.stroke();
      }
      for (const node of nodes) {
        if (!seen(node)) continue;
        const [x, y] = at(node), r = node.size * grown;
        if (x < -r || y < -r || x > across + r || y > down + r) continue;
        pen.globalAlpha = faded(node) ? 0.18 : 1;
        pen.beginPath();
        if (node.account) {
          pen.arc(x, y, r, 0, 2 * Math.PI);
          paint(node.core ? "ink" : "paper", "ink", 1.4);
          if (node.closed) {
            pen.beginPath();
            for (const arm of [r / 2, -r / 2]) { pen.moveTo(x - arm, y - r / 2); pen.lineTo(x + arm, y + r / 2); }
            pen.strokeStyle = colour(node.core ? "paper" : "ink");
            pen.stroke();
          }
        } else {
          shapes[node.kind % shapes.length].forEach(([dx, dy], i) => pen[i ? "lineTo" : "moveTo"](x + dx * r, y + dy * r));
          pen.closePath();
          paint(`kind-${node.kind % 8}`, "paper", 1.2);
        }
        if (node === chosen) {
          pen.beginPath();
          pen.arc(x, y, r + 4 * ratio, 0, 2 * Math.PI);
          paint(null, "chosen", 2);
        }
      }
      // labels: what is in focus first, then the most used identifiers, as many as fit without covering each other
      const few = !focus && !found && nodes.length < 120 ? nodes.filter(seen).map((node) => [...at(node), node.size * grown]) : [];
      const boxes = few.map(([x, y, r]) => [x - r, y - r, x + r, y + r]), room = boxes.length + (focus || found ? 40 : scale < 1.5 ? 8 : scale < 3 ? 30 : 200);
      const order = focus ? [focus, ...beside] : found ? [...found] : scale < 2.5 ? byMembers : [...byMembers, ...accounts];
      pen.font = `${11.5 * ratio}px system-ui, sans-serif`;
      Object.assign(pen, { textBaseline: "middle", lineJoin: "round", lineWidth: 4 * ratio, globalAlpha: 1 });
      for (const node of order) {
        if (boxes.length >= room) break;
        if (!seen(node)) continue;
        const [x, y] = at(node), say = node.label.length > 40 ? `${node.label.slice(0, 39)}…` : node.label;
        const long = pen.measureText(say).width, reach = node.size * grown + 5 * ratio;
        const from = x + reach + long > across ? x - reach - long : x + reach;
        const box = [from, y - 8 * ratio, from + long, y + 8 * ratio];
        if (x < 0 || y < 0 || x > across || y > down) continue;
        if (boxes.some((b) => b[0] < box[2] && box[0] < b[2] && b[1] < box[3] && box[1] < b[3])) continue;
        boxes.push(box);
        pen.strokeStyle = colour("paper");
        pen.strokeText(say, from, y);
        pen.fillStyle = colour(node === focus ? "ink" : "soft");
        pen.fillText(say, from, y);
      }
    }

    function tell(node) {
      panel.replaceChildren();
      if (!node) { make("p", "Choose an account or an identifier to see what ties it to the others.", panel).className = "soft"; return; }
      make("p", node.account ? `Account, ${node.core ? "core" : "attached"}` : titles.get(node.kind), panel).className = "soft";
      make("code", node.label, make("h4", undefined, panel));
      if (node.account) {
        make("p", `${node.bits} bits. Active ${node.seen}.${node.closed ? ` Closed ${node.end}.` : ""}`, panel);
      } else {
        const members = node.members.toLocaleString("en-GB");
        make("p", `No. ${node.number} in the table: ${node.bits} bits, used by ${members} members and by ${node.whole} accounts in the whole source.`, panel);
      }
      make("p", node.account ? "Shares:" : "Used by:", panel);
      const list = make("ul", undefined, panel), most = 60;
      const ends = node.links.map((l) => [node.account ? l.to : l.from, l.count]).filter(([end]) => seen(end));
      for (const [end, count] of ends.slice(0, most)) {
        const item = make("li", undefined, list), button = make("button", undefined, item);
        if (!end.account) item.prepend(glyph(end.kind));
        make("code", end.label, button);
        button.addEventListener("click", () => choose(end));
        const uses = count ? `${count.toLocaleString("en-GB")}× used` : "";
        make("small", (end.account ? [uses] : [titles.get(end.kind), `${end.bits} bits`, `${end.members} members`, uses]).filter(Boolean).join(", "), item);
      }
      if (ends.length > most) make("p", `and ${(ends.length - most).toLocaleString("en-GB")} more`, panel);
    }
    function choose(node) {
      chosen = node;
      if (node && (Math.abs((node.x - left) * scale / WIDTH - 0.5) > 0.5 || Math.abs((node.y - top) * scale / HEIGHT - 0.5) > 0.5)) {
        [left, top] = [node.x - WIDTH / 2 / scale, node.y - HEIGHT / 2 / scale];
      }
      tell(node);
      redraw();
    }
    function zoomTo(factor, x = WIDTH / 2, y = HEIGHT / 2) {
      const next = Math.min(12, Math.max(0.5, scale * factor));
      left += x / scale - x / next;
      top += y / scale - y / next;
      scale = next;
      redraw();
    }
    function fit() { scale = 1; left = top = 0; redraw(); }
    function place(event) {
      const box = canvas.getBoundingClientRect();
      return [(event.clientX - box.left) * WIDTH / box.width, (event.clientY - box.top) * WIDTH / box.width];
    }
    function under(x, y) {
      let best = null, least = 14 / scale;
      for (const node of nodes) {
        const gap = Math.hypot(node.x - left - x / scale, node.y - top - y / scale) - node.size / scale;
        if (seen(node) && gap < least) { least = gap; best = node; }
      }
      return best;
    }

    canvas.addEventListener("pointerdown", (event) => {
      const [x, y] = place(event);
      grip = { x, y, node: under(x, y), moved: false };
      canvas.setPointerCapture(event.pointerId);
    });
    canvas.addEventListener("pointermove", (event) => {
      const [x, y] = place(event);
      if (grip) {
        const dx = (x - grip.x) / scale, dy = (y - grip.y) / scale;
        if (!grip.moved && Math.hypot(dx, dy) * scale < 4) return;
        if (grip.node) { grip.node.x += dx; grip.node.y += dy; } else { left -= dx; top -= dy; }
        grip = { x, y, node: grip.node, moved: true };
      } else {
        hover = under(x, y);
        canvas.title = hover ? name(hover) : "";
      }
      redraw();
    });
    canvas.addEventListener("pointerup", () => { if (grip && !grip.moved) choose(grip.node); grip = null; });
    canvas.addEventListener("pointercancel", () => { grip = null; });
    canvas.addEventListener("pointerleave", () => { hover = null; redraw(); });
    canvas.addEventListener("wheel", (event) => {
      if (document.activeElement !== canvas && !event.ctrlKey) return; // the page scrolls until the picture is in focus
      event.preventDefault();
      zoomTo(Math.exp(-Math.max(-120, Math.min(120, event.deltaY)) / 400), ...place(event));
    }, { passive: false });
    canvas.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      const step = 60 / scale, turn = (by) => {
        const now = accounts.indexOf(chosen);
        choose(accounts[now < 0 ? (by > 0 ? 0 : accounts.length - 1) : (now + by + accounts.length) % accounts.length]);
      };
      const keys = {
        ArrowLeft: () => { left -= step; }, ArrowRight: () => { left += step; }, ArrowUp: () => { top -= step; }, ArrowDown: () => { top += step; },
        "+": () => zoomTo(1.3), "=": () => zoomTo(1.3), "-": () => zoomTo(1 / 1.3), 0: fit, Escape: () => choose(null), n: () => turn(1), p: () => turn(-1),
      };
      const act = keys[event.key.length === 1 ? event.key.toLowerCase() : event.key];
      if (act) { event.preventDefault(); act(); redraw(); }
    });
    search.addEventListener("input", () => {
      const wanted = search.value.trim().toLowerCase();
      found = wanted ? new Set(nodes.filter((node) => seen(node) && name(node).toLowerCase().includes(wanted))) : null;
      choose(found && found.size === 1 ? [...found][0] : null);
    });
    search.addEventListener("keydown", (event) => {
      const all = [...(found || [])];
      if (event.key === "Enter" && all.length) choose(all[(all.indexOf(chosen) + 1) % all.length]);
    });
    for (const button of figure.querySelectorAll("[data-do]")) {
      button.addEventListener("click", () => ({ in: () => zoomTo(1.4), out: () => zoomTo(1 / 1.4), fit })[button.dataset.do]());
    }
    for (const box of figure.querySelectorAll("[data-kind]")) {
      box.addEventListener("change", () => {
        shown[box.checked ? "add" : "delete"](Number(box.dataset.kind));
        choose(chosen && seen(chosen) ? chosen : null);
      });
    }
    tell(null);
    new ResizeObserver(redraw).observe(canvas);
    return { draw, near: (is) => { near = is; if (is) redraw(); else canvas.width = 0; } };
  }

  // A picture is made when it comes near the window and let go when it is far away: fifty canvases cost memory.
  const made = new Map(), figures = [...document.querySelectorAll("[data-picture]")];
  const get = (figure) => { if (!made.has(figure)) made.set(figure, picture(figure)); return made.get(figure); };
  const watch = new IntersectionObserver((entries) => entries.forEach((entry) => {
    if (entry.isIntersecting || made.has(entry.target)) get(entry.target).near(entry.isIntersecting);
  }), { rootMargin: "100%" });
  const all = () => figures.forEach((figure) => get(figure).draw());
  figures.forEach((figure) => watch.observe(figure));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => made.forEach((one) => one.draw()));
  for (const when of ["beforeprint", "afterprint"]) addEventListener(when, all);
})();
