"""One error code, as `codes` lists them."""

from msgspec import Struct


class Code(Struct, frozen=True):
    """One kind of refusal: what it means, when it occurs, and what the caller can do."""

    code: str
    status: int
    title: str
    meaning: str
    remedy: str
    example: str
    """The `detail` of a typical answer."""
    param: str | None = None
    """The `param` of a typical answer, where one is named."""

    @property
    def slug(self) -> str:
        """The code in lower kebab case: the last part of the problem's `type`."""
        return self.code.lower().replace("_", "-")
