"use strict";

/* What all pages share. Links and forms inside <main> are htmx's (hx-boost); without JavaScript they
   are links and forms. */

const trouble = (message) => {
  const place = document.getElementById("trouble");
  place.textContent = message;
  place.hidden = !message;
};

/* A form sends all its fields; an address needs those that say something. */
document.addEventListener("htmx:config:request", ({ detail: { ctx } }) => {
  const { body, form } = ctx.request;
  if (ctx.request.method !== "GET" || !form) return;
  for (const [name, value] of [...body]) {
    if (value === (form.elements[name].dataset?.default ?? "")) body.delete(name);
  }
});

/* Enter in a field is a change, too: one step in the history is enough. */
document.addEventListener("htmx:before:history:update", (event) => {
  if (event.detail.history.path === location.pathname + location.search) event.preventDefault();
});

/* Whatever answers with something else than a page has gone wrong; the page stays as it is. */
document.addEventListener("htmx:before:response", (event) => {
  const { raw } = event.detail.ctx.response;
  const type = raw.headers.get("Content-Type") ?? "";
  if (type.startsWith("text/html") || type.startsWith("text/event-stream")) {
    trouble("");
    return;
  }
  event.preventDefault();
  trouble(`The service answered with the status ${raw.status}. Try again.`);
});

document.addEventListener("htmx:error", ({ detail }) => {
  if (detail.ctx) trouble("The service does not answer. Try again.");
});

/* Where there is little room the filters would hide the deals; who is at them, or has something to
   mend there, keeps them. */
const narrow = matchMedia("(max-width: 60rem)");

const fold = () => {
  const filters = document.querySelector("details.filters");
  if (!filters || !narrow.matches) return;
  const atThem = filters.contains(document.activeElement);
  filters.open = atThem || filters.querySelector("[aria-invalid]") !== null;
};

document.addEventListener("htmx:after:swap", fold);
fold();
