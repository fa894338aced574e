// What a program does with the generated types, unedited: `node use.js URL KEY`.
import createClient from "openapi-fetch";

import type { components, paths } from "./schema.js";

declare const process: { argv: string[] };

type DealCreate = components["schemas"]["DealCreate"];
type ErrorEnvelope = components["schemas"]["ErrorEnvelope"];

const [baseUrl, key] = process.argv.slice(2);
const client = createClient<paths>({ baseUrl, headers: { Authorization: `Bearer ${key}` } });

function found<T>(value: T | null | undefined, what: string): T {
  if (value === null || value === undefined) throw new Error(`no ${what}`);
  return value;
}

function same<T>(value: T, expected: T): void {
  if (JSON.stringify(value) !== JSON.stringify(expected))
    throw new Error(`${JSON.stringify(value)} is not ${JSON.stringify(expected)}`);
}

const hotel = found(
  (
    await client.POST("/hotels", {
      params: { header: { "idempotency-key": "typescript" } },
      body: { name: "Court", city: "Zürich", country: "Switzerland", phone: "+41-44-1" },
    })
  ).data,
  "hotel",
);

const offer: DealCreate = {
  hotel_id: hotel.id,
  room_type: "suite",
  star_rating: 4,
  price_per_night: "176.18",
  original_price: 244.69,
  discount_percent: 28,
  checkin_date: "2026-12-01",
  checkout_date: "2026-12-06",
  categories: ["Luxury"],
};
for (const price_per_night of ["100.00", "120.00", "140.00"]) {
  const { data, response } = await client.POST("/deals", { body: { ...offer, price_per_night } });
  same(response.headers.get("location"), `/deals/${found(data, "deal").id}`);
}

const query = { city: "zürich", category: ["luxury", "beach"], price_max: 150, limit: 2 };
const first = found((await client.GET("/deals", { params: { query } })).data, "page");
same(first.total, 3);
const cursor = found(first.next_cursor, "cursor");
const second = found(
  (await client.GET("/deals", { params: { query: { ...query, cursor } } })).data,
  "second page",
);
same([...first.items, ...second.items].map((deal) => deal.price_per_night), [
  "100.00",
  "120.00",
  "140.00",
]);
same(second.next_cursor, null);

const path = { deal_id: found(first.items[0], "deal").id };
const read = await client.GET("/deals/{deal_id}", { params: { path } });
same(found(read.data, "deal").hotel.name, "Court");

const tag = found(read.response.headers.get("etag"), "ETag");
const params = { path, header: { "if-match": tag } };
const changed = await client.PATCH("/deals/{deal_id}", { params, body: { is_available: false } });
same(found(changed.data, "change").version, 2);

const stale = await client.PATCH("/deals/{deal_id}", { params, body: { is_available: true } });
same(stale.response.status, 412);
same(found(stale.error, "error").error.code, "PRECONDITION_FAILED");

const wrong = await client.POST("/deals", { body: { ...offer, star_rating: 6 } });
const envelope: ErrorEnvelope = found(wrong.error, "error");
same(wrong.response.status, 422);
same(envelope.error.details, [
  { field: "body.star_rating", message: "Input should be less than or equal to 5" },
]);

const gone = await client.DELETE("/deals/{deal_id}", { params: { path } });
same(gone.response.status, 204);
const missing = await client.GET("/deals/{deal_id}", { params: { path } });
same(found(missing.error, "error").error.message, `Deal ${path.deal_id} does not exist`);

console.log("all done");
