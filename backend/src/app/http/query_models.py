"""A query string as one pydantic model, for routes whose speed has a budget.

FastAPI's own `Annotated[Model, Query()]` finds out anew for each request what every field of the
model is: for the 19 of `GET /deals` 110 µs of CPU, a sixth of what the page costs
(docs/adr/0013). The model is validated by pydantic either way, with the same errors.
"""

from typing import Annotated, Any, TypeVar

from fastapi import Depends, FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError

M = TypeVar("M", bound=BaseModel)


def query_model(model: type[M]) -> Any:
    """Return the dependency of a parameter that takes the whole query as `model`.

    A parameter that is no list has its last value when it comes more than once.
    """
    properties = model.model_json_schema()["properties"]
    lists = {name for name, schema in properties.items() if schema.get("type") == "array"}

    async def parse(request: Request) -> M:
        sent: dict[str, Any] = {}
        if request.scope["query_string"]:
            for name, value in request.query_params.multi_items():
                if name in lists:
                    sent.setdefault(name, []).append(value)
                else:
                    sent[name] = value
        try:
            return model.model_validate(sent)
        except ValidationError as error:
            problems = error.errors(include_url=False)
            raise RequestValidationError(
                [{**problem, "loc": ("query", *problem["loc"])} for problem in problems]
            ) from None

    return Depends(parse)


def query_parameters(model: type[BaseModel]) -> dict[str, Any]:
    """Return for `openapi_extra` what FastAPI documents of the parameters of `model`."""
    described = FastAPI()

    @described.get("/")
    async def describe(query: Annotated[model, Query()]) -> None:  # type: ignore[valid-type]
        """Take the query."""

    return {"parameters": described.openapi()["paths"]["/"]["get"]["parameters"]}
