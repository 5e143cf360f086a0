"""Two routes: one is called with a body, one has dashes in its path and takes a query.

Neither takes a picture: like the guide's sample this service shows how a request arrives, and
its answers say that there is no picture.
"""

from typing import Annotated

import carb
from fastapi import Query
from omni.services.core import routers
from pydantic import BaseModel, Field

router = routers.ServiceAPIRouter()


class ViewportCaptureRequestModel(BaseModel):
    """Which stage to show."""

    usd_stage_path: str = Field(..., title="Address of the stage.")


class ViewportCaptureResponseModel(BaseModel):
    """Where the picture lies, or why there is none."""

    success: bool = Field(..., title="Whether there is a picture.")
    captured_image_path: str | None = Field(None, title="Where it lies.")
    error_message: str | None = Field(None, title="Why there is none.")


class ApplicationCaptureRequestModel(BaseModel):
    """How the picture is to be."""

    image_format: str = Field("png", title="Kind of picture.")


class ApplicationCaptureResponseModel(BaseModel):
    """Where the picture lies, or why there is none."""

    success: bool = Field(..., title="Whether there is a picture.")
    image_format: str = Field(..., title="Kind of picture that was asked for.")
    error_message: str | None = Field(None, title="Why there is none.")


@router.post(
    path="/capture",
    summary="Show a stage",
    description="Draw a stage and keep the picture.",
    response_model=ViewportCaptureResponseModel,
)
async def capture(
    request: ViewportCaptureRequestModel,
) -> ViewportCaptureResponseModel:
    carb.log_warn(f'A picture of "{request.usd_stage_path}" was asked for.')
    return ViewportCaptureResponseModel(
        success=False,
        captured_image_path=None,
        error_message="This service draws nothing yet.",
    )


@router.get(
    path="/capture-application-screenshot",
    summary="Show the application",
    description="Keep a picture of the application's window.",
    response_model=ApplicationCaptureResponseModel,
)
async def application_capture(
    request: Annotated[ApplicationCaptureRequestModel, Query()],
) -> ApplicationCaptureResponseModel:
    return ApplicationCaptureResponseModel(
        success=False,
        image_format=request.image_format,
        error_message="This service has no window.",
    )
