"""Every error as one shape: `{code, message, hint}`, and nothing of what went wrong inside.

Only under `/api/`: the routes of Gradio keep Gradio's errors, which its clients read.
"""

from __future__ import annotations

from fastapi import Request, Response
from fastapi.exception_handlers import http_exception_handler as http_error
from fastapi.exception_handlers import request_validation_exception_handler as invalid
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from fluxui.errors import FluxuiError, InvalidRequest, NotFound, TryLater
from fluxui.request import invalid_request

KINDS = (FluxuiError, RequestValidationError, HTTPException, Exception)


def problem(error: FluxuiError) -> JSONResponse:
    headers = {"Retry-After": str(error.retry_after)} if isinstance(error, TryLater) else None
    return JSONResponse(error.as_dict(), error.status, headers)


def _ours(request: Request) -> bool:
    """Gradio's own routes keep Gradio's errors, which its clients read."""
    path = str(request.scope["path"]).removeprefix(str(request.scope.get("root_path", "")))
    return path.startswith("/api/")


async def answer_error(request: Request, error: Exception) -> Response:
    """Registered for every kind of error; those of Gradio's routes stay as Gradio has them."""
    if isinstance(error, FluxuiError):
        return problem(error)
    if isinstance(error, HTTPException):
        return _http_problem(error) if _ours(request) else await http_error(request, error)
    if isinstance(error, RequestValidationError):
        return (
            problem(invalid_request(error.errors()))
            if _ours(request)
            else await invalid(request, error)
        )
    return JSONResponse(
        {
            "code": "internal_error",
            "message": "Something went wrong inside fluxui.",
            "hint": "The terminal that runs it has the details.",
        },
        500,
    )


def _http_problem(error: HTTPException) -> JSONResponse:
    """What Starlette and FastAPI say by themselves, in our words."""
    if isinstance(error.__cause__, FluxuiError):  # raised while FastAPI read the body
        return problem(error.__cause__)
    if error.status_code == 404:
        return problem(NotFound("There is nothing at this address.", "/docs lists every call."))
    if error.status_code == 400:
        return problem(InvalidRequest("The body could not be read."))
    if error.status_code == 405:
        told = {
            "code": "method_not_allowed",
            "message": "This address does not take that method.",
            "hint": "/docs lists every call.",
        }
        return JSONResponse(told, 405, error.headers)
    told = {"code": "http_error", "message": str(error.detail), "hint": ""}
    return JSONResponse(told, error.status_code, error.headers)
