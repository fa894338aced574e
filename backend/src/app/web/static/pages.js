"use strict";

/* Code of all pages. htmx handles the links and forms inside <main> (hx-boost). Without JavaScript
   the browser handles them. */

const trouble = (message) => {
  const place = document.getElementById("trouble");
  place.textContent = message;
  place.hidden = !message;
};

/* Omit fields with default values, so that the page's URL stays short. */
document.addEventListener("htmx:config:request", ({ detail: { ctx } }) => {
  const { body, form } = ctx.request;
  if (ctx.request.method !== "GET" || !form) return;
  for (const [name, value] of [...body]) {
    if (value === (form.elements[name].dataset?.default ?? "")) body.delete(name);
  }
});

/* Enter in a field sends a submit and a change event. Add only one history entry for both. */
document.addEventListener("htmx:before:history:update", (event) => {
  if (event.detail.history.path === location.pathname + location.search) event.preventDefault();
});

/* If a response is not HTML or an event stream, keep the page and show an error message. */
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

/* Collapse the filters on narrow screens, where the filters would hide the deals. Keep the filters
   open if one of them has the focus or an error. */
const narrow = matchMedia("(max-width: 60rem)");

const fold = () => {
  const filters = document.querySelector("details.filters");
  if (!filters || !narrow.matches) return;
  const atThem = filters.contains(document.activeElement);
  filters.open = atThem || filters.querySelector("[aria-invalid]") !== null;
};

document.addEventListener("htmx:after:swap", fold);
fold();
