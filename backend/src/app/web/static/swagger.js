// The class `dark-mode` selects Swagger UI's dark colours.
const dark = matchMedia("(prefers-color-scheme: dark)");
const dress = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
dark.addEventListener("change", dress);
dress();

SwaggerUIBundle({
  url: "/openapi.json",
  // Ignore `?url=` and `?configUrl=`. With these parameters, a malicious link could show another
  // document, whose requests would send the reader's API key to another host.
  queryConfigEnabled: false,
  // Disable the validator badge, which Swagger UI requests from another host.
  validatorUrl: null,
  dom_id: "#reference",
  presets: [SwaggerUIBundle.presets.apis],
  deepLinking: true,
  displayRequestDuration: true,
  filter: true,
  persistAuthorization: true,
  tryItOutEnabled: true,
});
