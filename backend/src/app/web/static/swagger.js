// Swagger UI has dark colours, by this class.
const dark = matchMedia("(prefers-color-scheme: dark)");
const dress = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
dark.addEventListener("change", dress);
dress();

SwaggerUIBundle({
  url: "/openapi.json",
  // `?url=` and `?configUrl=` have no say: a link to this page cannot make it show another document,
  // whose requests would take the reader's key with them.
  queryConfigEnabled: false,
  // No badge: it would ask a host of Swagger's.
  validatorUrl: null,
  dom_id: "#reference",
  presets: [SwaggerUIBundle.presets.apis],
  deepLinking: true,
  displayRequestDuration: true,
  filter: true,
  persistAuthorization: true,
  tryItOutEnabled: true,
});
