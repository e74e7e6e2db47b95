"use strict";
// Draws each cluster's picture. Positions come from the data; text goes to the canvas or into textContent, never into HTML.
(() => {
  const shapes = JSON.parse(document.getElementById("shapes").textContent);
  const WIDTH = 1000, HEIGHT = 640, TOP = 40; // the data's box is 1000 x 560, in the middle of the canvas
  const tints = new Map(); // the page's colours, asked for once until the paper changes
  const colour = (key) => {
    if (!tints.has(key)) tints.set(key, getComputedStyle(document.documentElement).getPropertyValue(`--${key}`).trim());
    return tints.get(key);
  };
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
    for (const node of [...identifiers, ...accounts]) node.said = node.label.length > 40 ? `${node.label.slice(0, 39)}…` : node.label;
    for (const node of identifiers) node.size = Math.min(14, 4 + Math.sqrt(node.links.length) * 1.5) * crowd;
    const nodes = [...identifiers, ...accounts];
    const byMembers = [...identifiers].sort((a, b) => b.members - a.members || a.number - b.number);
    const everybody = [...byMembers, ...accounts];
    let scale = 1, left = 0, top = 0, hover = null, chosen = null, found = null, grip = null, queued = false, near = false;
    // of a large picture: moving: the timer that ends a move; layer: what is moved; veil: all of it, faded, behind what is in focus
    const large = nodes.length + links.length > 1000;
    let moving = 0, layer = null, veil = null;
    const seen = (node) => node.account || shown.has(node.kind);
    const name = (node) => node.account ? node.label : `${titles.get(node.kind)} ${node.label}`;
    const redraw = () => {
      if (queued || !near) return;
      queued = true;
      requestAnimationFrame(() => { queued = false; draw(); });
    };

    function draw(lines = false) { // lines: for paper, nothing from a bitmap
      const ratio = Math.min(window.devicePixelRatio || 1, 2), wide = canvas.clientWidth;
      if (!wide) return;
      const across = Math.round(wide * ratio), down = Math.round(wide * ratio * HEIGHT / WIDTH);
      if (canvas.width === across && canvas.height === down) pen.clearRect(0, 0, across, down);
      else { canvas.width = across; canvas.height = down; }
      if (!moving || lines) { paint(pen, across, down, ratio, across / WIDTH, left, top, large && !lines); return; }
      // a large picture on the move: what was drawn with as much around it is moved, and drawn anew when too little is left
      const far = layer ? scale / layer.scale : 0, x = layer ? (layer.left - left) * scale : 0, y = layer ? (layer.top - top) * scale : 0;
      if (far < 0.6 || far > 1.8 || x > 0 || y > 0 || x + 2 * WIDTH * far < WIDTH || y + 2 * HEIGHT * far < HEIGHT) {
        layer = { scale, left: left - WIDTH / 2 / scale, top: top - HEIGHT / 2 / scale, canvas: document.createElement("canvas") };
        [layer.canvas.width, layer.canvas.height] = [2 * wide, Math.round(2 * wide * HEIGHT / WIDTH)];
        paint(layer.canvas.getContext("2d"), layer.canvas.width, layer.canvas.height, 1, wide / WIDTH, layer.left, layer.top, false);
        draw();
        return;
      }
      const unit = across / WIDTH;
      pen.globalAlpha = 1;
      pen.drawImage(layer.canvas, x * unit, y * unit, 2 * WIDTH * far * unit, 2 * HEIGHT * far * unit);
    }

    // What is slow: the area that lines of more than one pixel cover, outlines of circles, paths of thousands of lines, and asking
    // the page for anything. So dense links are one pixel wide, drawn some hundreds at a time, and an open circle is two full ones.
    function paint(pen, across, down, ratio, unit, left, top, veiled) {
      const zoom = unit * scale, grown = unit * scale ** 0.45 * Math.max(1, 1.15 / (unit / ratio) ** 0.5);
      for (const node of nodes) { node.left = (node.x - left) * zoom; node.top = (node.y - top) * zoom; }
      const focus = chosen || hover, beside = new Set(focus ? focus.links.flatMap((l) => [l.from, l.to]) : []);
      if (focus) beside.add(focus);
      const stroke = (pen, some, tint, alpha, width) => {
        Object.assign(pen, { strokeStyle: colour(tint), globalAlpha: Math.min(alpha, 1), lineWidth: width });
        for (let i = 0; i < some.length; i += 500) {
          pen.beginPath();
          for (const { from, to } of some.slice(i, i + 500)) {
            if (!shown.has(to.kind) || Math.max(from.left, to.left) < 0 || Math.max(from.top, to.top) < 0) continue;
            if (Math.min(from.left, to.left) > across || Math.min(from.top, to.top) > down) continue;
            pen.moveTo(from.left, from.top);
            pen.lineTo(to.left, to.top);
          }
          pen.stroke();
        }
      };
      const disc = (pen, node, radius, fill) => {
        pen.fillStyle = colour(fill);
        pen.beginPath();
        pen.arc(node.left, node.top, radius, 0, 2 * Math.PI);
        pen.fill();
      };
      const mark = (pen, node, alpha) => {
        const { left: x, top: y } = node, r = node.size * grown, pad = 0.7 * ratio;
        if (!seen(node) || x < -r || y < -r || x > across + r || y > down + r) return;
        pen.globalAlpha = alpha;
        if (node.account) {
          disc(pen, node, r + pad, "ink");
          if (!node.core) disc(pen, node, r - pad, "paper");
          if (!node.closed) return;
          pen.beginPath();
          for (const arm of [r / 2, -r / 2]) { pen.moveTo(x - arm, y - r / 2); pen.lineTo(x + arm, y + r / 2); }
          Object.assign(pen, { lineWidth: 1.4 * ratio, strokeStyle: colour(node.core ? "paper" : "ink") });
        } else {
          pen.beginPath();
          shapes[node.kind % shapes.length].forEach(([dx, dy], i) => pen[i ? "lineTo" : "moveTo"](x + dx * r, y + dy * r));
          pen.closePath();
          pen.fillStyle = colour(`kind-${node.kind % 8}`);
          pen.fill();
          Object.assign(pen, { lineWidth: 1.2 * ratio, strokeStyle: colour("paper") });
        }
        pen.stroke();
      };
      const thin = links.length > 500 ? 1 : Math.max(1, 0.9 * ratio), depth = thin === 1 ? Math.sqrt(ratio) : 1;
      const back = (pen, held) => { // held: the node that is dragged, which stands in front
        const all = held ? links.filter((link) => link.from !== held && link.to !== held) : links;
        stroke(pen, all, "link-line", (focus || found ? 0.12 : Math.max(0.2, 0.55 - links.length / 4000)) * depth, thin);
        for (const node of nodes) if (node !== held) mark(pen, node, focus || (found && !found.has(node)) ? 0.18 : 1);
      };
      if (focus && veiled) {
        const held = grip && grip.node, of = [across, down, scale, left, top, ...shown].join();
        if (!veil || veil.of !== of || veil.held !== held || veil.found !== found) {
          veil = { of, held, found, canvas: document.createElement("canvas") };
          [veil.canvas.width, veil.canvas.height] = [across, down];
          back(veil.canvas.getContext("2d"), held);
        }
        pen.globalAlpha = 1;
        pen.drawImage(veil.canvas, 0, 0);
      } else {
        back(pen, null);
      }
      if (focus) stroke(pen, focus.links, "chosen", 0.95, Math.max(1, 0.9 * ratio));
      for (const node of beside) mark(pen, node, 1);
      if (chosen && seen(chosen)) {
        pen.beginPath();
        pen.arc(chosen.left, chosen.top, chosen.size * grown + 4 * ratio, 0, 2 * Math.PI);
        Object.assign(pen, { lineWidth: 2 * ratio, strokeStyle: colour("chosen"), globalAlpha: 1 });
        pen.stroke();
      }
      // labels: what is in focus first, then the most used identifiers, as many as fit without covering each other
      const few = !focus && !found && nodes.length < 120 ? nodes.filter(seen) : [];
      const boxes = few.map(({ left: x, top: y, size }) => [x - size * grown, y - size * grown, x + size * grown, y + size * grown]);
      const room = boxes.length + (focus || found ? 40 : scale < 1.5 ? 8 : scale < 3 ? 30 : 80);
      const order = focus ? [focus, ...beside] : found ? found : scale < 2.5 ? byMembers : everybody;
      pen.font = `${11.5 * ratio}px system-ui, sans-serif`;
      Object.assign(pen, { textBaseline: "middle", lineJoin: "round", lineWidth: 4 * ratio, strokeStyle: colour("paper"), globalAlpha: 1 });
      for (const node of order) {
        if (boxes.length >= room) break;
        const { left: x, top: y } = node;
        if (!seen(node) || x < 0 || y < 0 || x > across || y > down) continue;
        if (node.measured !== ratio) Object.assign(node, { measured: ratio, long: pen.measureText(node.said).width });
        const reach = node.size * grown + 5 * ratio, from = x + reach + node.long > across ? x - reach - node.long : x + reach;
        const box = [from, y - 8 * ratio, from + node.long, y + 8 * ratio];
        if (boxes.some((b) => b[0] < box[2] && box[0] < b[2] && b[1] < box[3] && box[1] < b[3])) continue;
        boxes.push(box);
        pen.strokeText(node.said, from, y);
        pen.fillStyle = colour(node === focus ? "ink" : "soft");
        pen.fillText(node.said, from, y);
      }
    }

    function move() {
      clearTimeout(moving);
      if (large) moving = setTimeout(() => { moving = 0; layer = null; redraw(); }, 150);
      redraw();
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
      hover = under(x, y);
      grip = { x, y, node: hover, moved: false };
      canvas.setPointerCapture(event.pointerId);
    });
    canvas.addEventListener("pointermove", (event) => {
      const [x, y] = place(event);
      if (grip) {
        const dx = (x - grip.x) / scale, dy = (y - grip.y) / scale;
        if (!grip.moved && Math.hypot(dx, dy) * scale < 4) return;
        if (grip.node) { grip.node.x += dx; grip.node.y += dy; redraw(); } else { left -= dx; top -= dy; move(); }
        grip = { x, y, node: grip.node, moved: true };
      } else {
        const now = under(x, y);
        if (now === hover) return;
        hover = now;
        canvas.title = hover ? name(hover) : "";
        redraw();
      }
    });
    canvas.addEventListener("pointerup", () => { if (grip && !grip.moved) choose(grip.node); grip = null; });
    canvas.addEventListener("pointercancel", () => { grip = null; });
    canvas.addEventListener("pointerleave", () => { hover = null; redraw(); });
    canvas.addEventListener("wheel", (event) => {
      if (document.activeElement !== canvas && !event.ctrlKey) return; // the page scrolls until the picture is in focus
      event.preventDefault();
      zoomTo(Math.exp(-Math.max(-120, Math.min(120, event.deltaY)) / 400), ...place(event));
      move();
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
      if (act) { event.preventDefault(); act(); if (event.repeat) move(); else redraw(); }
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
    const settle = () => { layer = veil = null; if (near) redraw(); else canvas.width = 0; };
    return { draw, settle, near: (is) => { near = is; settle(); } };
  }

  // A picture is made when it comes near the window and let go when it is far away: fifty canvases cost memory.
  const made = new Map(), figures = [...document.querySelectorAll("[data-picture]")];
  const get = (figure) => { if (!made.has(figure)) made.set(figure, picture(figure)); return made.get(figure); };
  const watch = new IntersectionObserver((entries) => entries.forEach((entry) => {
    if (entry.isIntersecting || made.has(entry.target)) get(entry.target).near(entry.isIntersecting);
  }), { rootMargin: "100%" });
  figures.forEach((figure) => watch.observe(figure));
  const again = (how) => { tints.clear(); how(); };
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => again(() => made.forEach((one) => one.settle())));
  addEventListener("beforeprint", () => again(() => figures.forEach((figure) => get(figure).draw(true))));
  addEventListener("afterprint", () => again(() => made.forEach((one) => one.settle())));
})();
