"""Passkeys in a real browser: Chromium with a virtual authenticator, a page, and this server.

With TOLLHOUSE_SCREENSHOTS=FOLDER the page is photographed after each step (`just screenshots`).
"""

import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.async_api import CDPSession, Page, async_playwright, expect

from tests.api.conftest import PASSWORD, People

pytestmark = pytest.mark.anyio

PAGE = Path(__file__).with_name("passkey_page.html")
BROWSER = next(
    (
        found
        for name in ("chromium", "chromium-browser", "google-chrome")
        if (found := shutil.which(name))
    ),
    None,
)
SCREENSHOTS = os.environ.get("TOLLHOUSE_SCREENSHOTS")
PLATFORM = {
    "protocol": "ctap2",
    "transport": "internal",
    "hasResidentKey": True,
    "hasUserVerification": True,
    "isUserVerified": True,
    "automaticPresenceSimulation": True,
}


@pytest.fixture
async def page(client: httpx.AsyncClient) -> AsyncIterator[Page]:
    if BROWSER is None:
        pytest.skip("no Chromium on PATH: install the package `chromium` to run this")
    port = client.base_url.port
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=BROWSER,
            args=[
                "--no-sandbox",
                "--no-proxy-server",
                "--host-resolver-rules=MAP localhost 127.0.0.1",
            ],
        )
        page = await browser.new_page(viewport={"width": 760, "height": 620})
        page.set_default_timeout(15_000)
        url = f"http://localhost:{port}/a-page-of-yours"
        await page.route(url, lambda route: route.fulfill(path=PAGE, content_type="text/html"))
        await page.goto(url)
        yield page
        await browser.close()


async def authenticator(page: Page, **changed: Any) -> tuple[CDPSession, str]:
    devtools = await page.context.new_cdp_session(page)
    await devtools.send("WebAuthn.enable")
    options = {**PLATFORM, **changed}
    made = await devtools.send("WebAuthn.addVirtualAuthenticator", {"options": options})
    return devtools, made["authenticatorId"]


async def photograph(page: Page, name: str) -> None:
    if SCREENSHOTS:
        await page.screenshot(path=Path(SCREENSHOTS) / f"passkey-{name}.png")


async def test_a_passkey_made_in_a_browser_signs_in_and_the_password_alone_does_not_any_more(
    page: Page, people: People
) -> None:
    devtools, device = await authenticator(page)
    person = await people.register()
    said = page.locator("#said")

    async def sign_in() -> None:
        await page.fill("[name=email]", person["email"])
        await page.fill("[name=password]", PASSWORD)
        await page.click("#login button")

    await sign_in()
    await expect(said).to_contain_text('"pwd"')
    await page.click("#add")
    await expect(said).to_contain_text("Passkey added")
    await expect(said).to_contain_text("recovery_codes")
    await photograph(page, "1-added")
    kept = await devtools.send("WebAuthn.getCredentials", {"authenticatorId": device})
    assert [each["isResidentCredential"] for each in kept["credentials"]] == [True]

    await page.reload()
    await page.click("#passkey")
    await expect(said).to_contain_text(person["id"])
    await expect(said).to_contain_text('"mfa"')
    await photograph(page, "2-signed-in")

    await page.reload()
    await sign_in()
    await expect(said).to_contain_text("MFA_REQUIRED")
    await expect(said).to_contain_text('"passkey"')
    await photograph(page, "3-password-alone")

    # Somebody has the device, but neither their finger nor their PIN.
    verified = {"authenticatorId": device, "isUserVerified": False}
    await devtools.send("WebAuthn.setUserVerified", verified)
    await page.click("#passkey")
    await expect(said).to_contain_text("NotAllowedError")

    # The device was reset: nothing is on it any more.
    await devtools.send("WebAuthn.setUserVerified", {**verified, "isUserVerified": True})
    await devtools.send("WebAuthn.clearCredentials", {"authenticatorId": device})
    await page.reload()
    await page.click("#passkey")
    await expect(said).to_contain_text("NotAllowedError")
