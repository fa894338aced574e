"""The metrics that a server publishes, parsed as Prometheus reads them."""

import httpx
from prometheus_client.parser import text_string_to_metric_families


class MetricsScrape:
    """The samples of one response of `/metrics`."""

    def __init__(self, response: httpx.Response) -> None:
        assert response.status_code == 200
        assert response.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
        self.samples = [
            (sample.name, sample.labels, sample.value)
            for family in text_string_to_metric_families(response.text)
            for sample in family.samples
        ]

    def value(self, name: str, **labels: str) -> float:
        """Return the sum of the samples that have at least these labels."""
        return sum(
            value
            for each, found, value in self.samples
            if each == name and labels.items() <= found.items()
        )


async def scrape_metrics(client: httpx.AsyncClient) -> MetricsScrape:
    return MetricsScrape(await client.get("/metrics"))
