"use strict";

/* The Imports pages: upload a file, follow or cancel an import, download rejected rows. */

const KEY = "hotel-deals-api-key";
const page = () => document.getElementById("main");

/* The API key is stored only for this tab, and sent only to this service. */
const headers = () => {
  const key = sessionStorage.getItem(KEY);
  return key ? { Authorization: `Bearer ${key}` } : {};
};

const reload = () =>
  htmx.ajax("GET", location.pathname + location.search, {
    target: "#main",
    select: "#main",
    swap: "outerMorph",
  });

/* Return the message and the details of an error response as text. */
const complaint = (status, text) => {
  try {
    const { message, details = [] } = JSON.parse(text).error;
    return [message, ...details.map((each) => `${each.field}: ${each.message}`)].join(" – ");
  } catch {
    return `The service answered with the status ${status}.`;
  }
};

document.addEventListener("htmx:config:request", ({ detail: { ctx } }) => {
  Object.assign(ctx.request.headers, headers());
});

/* --- API key */

document.addEventListener("submit", (event) => {
  if (event.target.id !== "key-form") return;
  event.preventDefault();
  sessionStorage.setItem(KEY, document.getElementById("key").value.trim());
  reload();
});

/* --- upload */

/* Upload with XMLHttpRequest, because fetch does not report upload progress. */
const send = (form, file) => {
  const said = document.getElementById("upload-said");
  const sent = document.getElementById("sent");
  const button = form.querySelector("button");
  const options = [...form.querySelectorAll("input[type=checkbox]:checked")];
  const request = new XMLHttpRequest();
  const body = new FormData();
  body.append("file", file);
  const query = options.map(({ name }) => `${name}=true`).join("&");
  request.open("POST", query ? `/imports?${query}` : "/imports");
  for (const [name, value] of Object.entries(headers())) request.setRequestHeader(name, value);
  request.upload.addEventListener("progress", (event) => {
    if (event.lengthComputable) sent.value = event.loaded / event.total;
  });
  request.addEventListener("load", () => {
    if (request.status === 202) {
      said.textContent = `${file.name} is sent.`;
      form.reset();
    } else if (request.status === 200) {
      said.textContent = `${file.name} was imported before; nothing is done again.`;
    } else {
      said.textContent = complaint(request.status, request.responseText);
    }
    if (request.status < 400) reload();
  });
  request.addEventListener("error", () => {
    said.textContent = "The service does not answer, or ended the upload.";
  });
  request.addEventListener("loadend", () => {
    sent.hidden = true;
    button.disabled = false;
  });
  sent.value = 0;
  sent.hidden = false;
  button.disabled = true;
  said.textContent = `Sending ${file.name}…`;
  request.send(body);
};

document.addEventListener("submit", (event) => {
  if (event.target.id !== "upload") return;
  event.preventDefault();
  const [file] = event.target.elements.file.files;
  if (file) send(event.target, file);
});

for (const kind of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(kind, (event) => {
    const form = document.getElementById("upload");
    if (!form || !event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault();
    form.classList.toggle("over", kind === "dragover");
    if (kind === "drop" && event.dataTransfer.files.length) {
      form.elements.file.files = event.dataTransfer.files;
    }
  });
}

/* --- progress: each event contains the import as JSON, not HTML */

const FINAL = new Set(["succeeded", "failed", "cancelled"]);

document.addEventListener("htmx:sse:before:message", (event) => {
  event.preventDefault();
  const shown = event.target.closest("[data-import]");
  const now = JSON.parse(event.detail.message.data);
  if (!shown || shown.dataset.import !== String(now.id)) return;
  for (const place of shown.querySelectorAll("[data-field]")) {
    const value = now[place.dataset.field];
    if (place.tagName === "PROGRESS") place.value = value;
    else place.textContent = typeof value === "number" ? value.toLocaleString("en") : (value ?? "");
  }
  shown.dataset.state = now.state;
  /* When the import has ended, reload the page to show its rejects and follow another import. */
  if (FINAL.has(now.state)) reload();
});

/* The event stream ends when the import has ended. Keep htmx from reconnecting. */
document.addEventListener("htmx:sse:before:connection", (event) => {
  if (FINAL.has(event.target.dataset.state)) event.preventDefault();
});

/* --- cancellation and downloads, which need the API key */

/* Return the response, or show an error message and return null. */
const answered = async (address, options = {}) => {
  try {
    const answer = await fetch(address, { ...options, headers: headers() });
    if (answer.ok) return answer;
    trouble(complaint(answer.status, await answer.text()));
  } catch {
    trouble("The service does not answer. Try again.");
  }
  return null;
};

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-cancel]");
  if (!button) return;
  button.disabled = true;
  const answer = await answered(button.dataset.cancel, { method: "DELETE" });
  if (answer) reload();
  else button.disabled = false;
});

document.addEventListener("click", async (event) => {
  const link = event.target.closest("[data-download]");
  if (!link || !sessionStorage.getItem(KEY)) return;
  event.preventDefault();
  const answer = await answered(link.href);
  if (!answer) return;
  const [, name = "rejects.csv"] = /filename="([^"]+)"/.exec(
    answer.headers.get("Content-Disposition") ?? "",
  ) ?? [];
  const address = URL.createObjectURL(await answer.blob());
  Object.assign(document.createElement("a"), { href: address, download: name }).click();
  URL.revokeObjectURL(address);
});

/* --- controls that need JavaScript: show them */

const reveal = () => {
  for (const place of page().querySelectorAll("#upload, [data-cancel]")) place.hidden = false;
};

document.addEventListener("htmx:after:swap", reveal);
reveal();
if (document.getElementById("key-form") && sessionStorage.getItem(KEY)) {
  document.addEventListener("DOMContentLoaded", reload);
}
