"use strict";
// Keeps the pages true: rows and parts come rendered from the conductor by server-sent events; this puts them in place.
(() => {
  const page = document.body.dataset.page;
  const state = document.getElementById("live");

  // Ages, by the same rule as the conductor's.
  const duration = (ms) => {
    const s = Math.max(0, Math.floor(ms / 1000));
    if (s < 120) return s + "s";
    if (s < 7200) return Math.floor(s / 60) + "m";
    if (s < 172800) return Math.floor(s / 3600) + "h";
    return Math.floor(s / 86400) + "d";
  };
  const age = () => {
    const now = Date.now();
    for (const time of document.querySelectorAll("time[data-age]")) {
      const text = duration(now - Date.parse(time.dateTime));
      if (time.textContent !== text) time.textContent = text;
    }
    for (const time of document.querySelectorAll("time[data-due]")) {
      const left = Date.parse(time.dateTime) - now;
      const text = left < 0 ? duration(-left) + " ago" : "in " + duration(left);
      if (time.textContent !== text) time.textContent = text;
    }
  };
  setInterval(age, 1000);

  // The stream: one for a page that is seen, none for one that is not, and a new one after a silence.
  const silenceMax = 30000;
  const follow = (handlers) => {
    let source = null, last = null, heard = 0, timer = null;
    const say = (text, kind) => { state.textContent = text; state.className = "live " + kind; };
    const close = () => { if (source) source.close(); source = null; clearTimeout(timer); };
    const open = () => {
      close();
      const url = new URL(document.body.dataset.live, location.href);
      if (last) url.searchParams.set("since", last);
      heard = Date.now();
      source = new EventSource(url);
      source.onopen = () => { heard = Date.now(); say("Live", "on"); };
      source.onerror = () => {
        say("Not live, trying again", "off");
        if (source && source.readyState === EventSource.CLOSED) { close(); timer = setTimeout(again, 3000); }
      };
      for (const [name, handle] of Object.entries(handlers)) {
        source.addEventListener(name, (event) => {
          heard = Date.now();
          if (event.lastEventId) last = event.lastEventId;
          handle(event.data);
          age();
        });
      }
      source.addEventListener("beat", (event) => {
        heard = Date.now();
        if (event.lastEventId) last = event.lastEventId;
      });
      source.addEventListener("signed-out", signedOut);
    };
    const signedOut = () => { location.assign("/sign-in?next=" + encodeURIComponent(location.pathname)); };
    const again = async () => {
      try {
        const answer = await fetch("/session", { cache: "no-store" });
        if (answer.status === 401) return signedOut();
      } catch { /* the conductor is away: the next attempt tells */ }
      open();
    };
    document.addEventListener("visibilitychange", () => {
      if (document.hidden) { close(); say("Paused", ""); } else if (!source) open();
    });
    setInterval(() => { if (source && Date.now() - heard > silenceMax) open(); }, 5000);
    open();
  };

  // HTML that the conductor has rendered and escaped.
  const element = (html) => {
    const template = document.createElement("template");
    template.innerHTML = html;
    return template.content;
  };

  const fleet = () => {
    const table = document.getElementById("fleet");
    const body = document.getElementById("nodes");
    const none = document.getElementById("none");
    const field = document.getElementById("q");
    const isCut = "cut" in table.dataset;
    let show = "all", key = "name", direction = 1;
    const collator = new Intl.Collator("en", { numeric: true, sensitivity: "base" });
    const text = (row, name) => {
      const cell = row.querySelector(".c-" + name);
      return cell ? cell.dataset.key || cell.textContent.trim() : "";
    };
    const order = (a, b) =>
      direction * collator.compare(text(a, key), text(b, key)) || collator.compare(text(a, "name"), text(b, "name"));
    const sort = () => body.append(...[...body.rows].sort(order));
    const filter = () => {
      const wanted = field.value.trim().toLowerCase();
      const counts = { all: 0 };
      let seen = 0;
      for (const row of body.rows) {
        counts.all += 1;
        counts[row.dataset.group] = (counts[row.dataset.group] || 0) + 1;
        row.hidden = !((show === "all" || row.dataset.group === show) && row.dataset.search.includes(wanted));
        if (!row.hidden) seen += 1;
      }
      none.hidden = seen > 0;
      for (const button of document.querySelectorAll("[data-show]")) {
        button.setAttribute("aria-pressed", String(button.dataset.show === show));
        if (!isCut) button.querySelector(".count").textContent = counts[button.dataset.show] || 0;
      }
    };
    document.querySelector(".filters").addEventListener("click", (event) => {
      const button = event.target.closest("[data-show]");
      if (!button) return;
      show = button.dataset.show;
      filter();
    });
    table.tHead.addEventListener("click", (event) => {
      const button = event.target.closest("[data-sort]");
      if (!button) return;
      direction = key === button.dataset.sort ? -direction : 1;
      key = button.dataset.sort;
      for (const head of table.tHead.rows[0].cells) head.removeAttribute("aria-sort");
      button.closest("th").setAttribute("aria-sort", direction > 0 ? "ascending" : "descending");
      sort();
    });
    field.addEventListener("input", filter);
    field.form.addEventListener("submit", (event) => { if (!isCut) event.preventDefault(); });
    document.addEventListener("keydown", (event) => {
      if (event.key !== "/" || event.target.closest("input, textarea") || event.ctrlKey || event.metaKey) return;
      event.preventDefault();
      field.focus();
    });
    const put = (row) => {
      const old = document.getElementById(row.id);
      if (old) {
        const focused = old.contains(document.activeElement);
        old.replaceWith(row);
        if (focused) row.querySelector("a").focus();
        row.classList.add("changed");
      } else if (!isCut) {
        body.append(row);
        row.classList.add("changed");
      }
      // Only its own place can be wrong.
      const next = [...body.rows].find((other) => other !== row && order(row, other) < 0);
      if (row.isConnected && row.nextElementSibling !== (next || null)) body.insertBefore(row, next || null);
    };
    filter();
    follow({
      row: (data) => { put(element(data).firstElementChild); filter(); },
      gone: (data) => { document.getElementById("n-" + data)?.remove(); filter(); },
      table: (data) => { body.replaceChildren(element(data)); sort(); filter(); },
    });
  };

  const node = () => {
    const toEnd = (part) => {
      for (const box of part.querySelectorAll("[data-end]")) box.scrollTop = box.scrollHeight;
    };
    toEnd(document);
    follow({
      part: (data) => {
        const part = element(data).firstElementChild;
        const old = document.getElementById(part.id);
        if (!old || old.dataset.mark === part.dataset.mark) return;
        const box = old.querySelector("[data-end]");
        const wasAtEnd = !box || box.scrollHeight - box.scrollTop - box.clientHeight < 40;
        const top = box ? box.scrollTop : 0;
        const open = [...old.querySelectorAll("details")].map((details) => details.open);
        old.replaceWith(part);
        part.querySelectorAll("details").forEach((details, index) => { details.open = Boolean(open[index]); });
        if (wasAtEnd) toEnd(part); else { const now = part.querySelector("[data-end]"); if (now) now.scrollTop = top; }
      },
      gone: () => { location.assign("/"); },
    });
  };

  if (page === "fleet") fleet();
  if (page === "node") node();
})();
