// Block images from other hosts. ReDoc loads a logo from its vendor's host, and has no option to
// disable it. If the logo cannot be loaded, ReDoc hides it. React sets the `src` attribute or the
// `src` property, so both are replaced.
const own = (address) => {
  const url = new URL(address, location.href);
  return url.origin === location.origin || url.protocol === "data:" ? address : "data:,";
};
const image = HTMLImageElement.prototype;
const source = Object.getOwnPropertyDescriptor(image, "src");
Object.defineProperty(image, "src", {
  ...source,
  set(address) {
    source.set.call(this, own(address));
  },
});
image.setAttribute = function (name, value) {
  Element.prototype.setAttribute.call(this, name, name === "src" ? own(value) : value);
};

const font = { fontFamily: "system-ui, sans-serif" };

Redoc.init(
  "/openapi.json",
  {
    // ReDoc's search runs in a worker from a `blob:` URL, which the page's policy forbids.
    // All operations are on one page, so the browser's search finds them.
    disableSearch: true,
    nativeScrollbars: true,
    theme: { typography: { ...font, headings: font } },
  },
  document.getElementById("reference"),
);
