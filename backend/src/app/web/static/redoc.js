// ReDoc shows its maker's logo, from its maker's host, and no option turns that off. It does without
// when the picture cannot be shown; so do texts with pictures from elsewhere. React sets both, the
// attribute and the property.
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
    // Its search is a worker made of a text (`blob:`), which the page's policy would have to allow. All
    // operations are on the one page, where the browser's own search finds them.
    disableSearch: true,
    nativeScrollbars: true,
    theme: { typography: { ...font, headings: font } },
  },
  document.getElementById("reference"),
);
