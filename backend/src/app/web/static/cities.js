"use strict";

/* Draw the chart of the Cities page from the rows of its table. */

const MOST = 25;
let drawn = null;

const draw = () => {
  drawn?.destroy();
  drawn = null;
  const figure = document.getElementById("chart");
  if (!figure) return;
  const column = figure.dataset.column;
  const rows = [...document.querySelectorAll("#cities tbody tr")].slice(0, MOST);
  const label = { avg_price: "Average price a night", deal_count: "Number of deals" }[column];
  figure.hidden = false;
  const canvas = getComputedStyle(figure.querySelector(".canvas"));
  const body = getComputedStyle(document.body);
  figure.querySelector(".canvas").style.height = `${rows.length * 26 + 60}px`;
  figure.querySelector("figcaption").textContent =
    `${label} of ${rows.length === 1 ? "the city" : `the first ${rows.length} cities`} of the table`;
  Chart.defaults.color = body.color;
  Chart.defaults.borderColor = canvas.borderTopColor;
  Chart.defaults.font.family = body.fontFamily;
  drawn = new Chart(figure.querySelector("canvas"), {
    type: "bar",
    data: {
      labels: rows.map((row) => row.dataset.city),
      datasets: [
        {
          label,
          data: rows.map((row) => Number(row.dataset[column])),
          backgroundColor: canvas.color,
          borderRadius: 3,
        },
      ],
    },
    options: {
      indexAxis: "y",
      maintainAspectRatio: false,
      animation: matchMedia("(prefers-reduced-motion: reduce)").matches ? false : { duration: 200 },
      plugins: { legend: { display: false } },
      scales: { x: { beginAtZero: true }, y: { grid: { display: false } } },
    },
  });
};

draw();
document.addEventListener("htmx:after:swap", draw);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
