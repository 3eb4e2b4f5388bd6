"""The consent page in a real Chromium: signing in, what other sites can do with it, and who can use it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver import ActionChains, Chrome, Keys
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support import expected_conditions as become
from selenium.webdriver.support.wait import WebDriverWait

from tests.auth.consent.visitor import API, OOB, query
from tests.chromium import accessible_nodes, chromium, prefer, press, resize
from tests.clients.background import Background, in_background
from tests.clients.contrast import faults_of_contrast
from tests.clients.other_site import Site, site

WAIT_SECONDS = 120.0
SCHEMES = ("light", "dark")
MARKUP = "\"'><script>window.pwned=1</script><img src=x onerror=window.pwned=1>"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Background]:
    """A server whose people may mistype as often as they like."""
    with in_background(tmp_path_factory.mktemp("consent"), {"oauth.sign_in_attempts_per_minute": 1000}) as server:
        yield server


@pytest.fixture(scope="module")
def window(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    """One browser for all tests here."""
    with chromium(tmp_path_factory.mktemp("profile")) as window:
        yield window


@pytest.fixture
def browser(window: Chrome) -> Chrome:
    """The browser as if it had just been opened."""
    window.execute_cdp_cmd("Network.clearBrowserCookies", {})
    prefer(window, "light")
    resize(window, 1100, 900)
    window.get_log("browser")
    return window


@pytest.fixture
def program() -> Iterator[Site]:
    """What waits for the code."""
    with site("localhost") as program:
        yield program


def page(server: Background, redirect: str, **more: str) -> str:
    """The URL that a program opens."""
    return f"{server.url}/o/oauth2/auth?{query(redirect_uri=redirect, **more)}"


def find(browser: Chrome, selector: str) -> WebElement:
    return browser.find_element(By.CSS_SELECTOR, selector)


def shown(browser: Chrome, selector: str) -> WebElement:
    """The one of these that can be seen."""
    [found] = [item for item in browser.find_elements(By.CSS_SELECTOR, selector) if item.is_displayed()]
    return found


def by_key(browser: Chrome, api_key: str = "demo-api-key", secret_key: str = "demo-secret-key") -> None:
    """Fill in the one form."""
    find(browser, "label[for=way-keys]").click()
    find(browser, "#api_key").send_keys(api_key)
    find(browser, "#secret_key").send_keys(secret_key)


def by_name(browser: Chrome, name: str = "demo", password: str = "password") -> None:
    """Fill in the other."""
    find(browser, "#username").send_keys(name)
    find(browser, "#password").send_keys(password)


def decide(browser: Chrome, button: str) -> None:
    """`allow` or `cancel`; until another page is there."""
    press(browser, shown(browser, f"button.{button}"))


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]"])
def test_the_answer_reaches_the_program_on_this_machine(server: Background, browser: Chrome, host: str) -> None:
    """Chromium holds the policy of the page against where its form leads, too."""
    try:
        opened = site(host)
        program = opened.__enter__()
    except OSError:
        pytest.skip(f"this machine has no address {host}")
    try:
        for fill_in in (by_key, by_name):
            browser.get(page(server, f"{program.url}/"))
            fill_in(browser)
            decide(browser, "allow")
            answer = program.answer()
            assert answer["state"] == "the-state"
            record = server.run(server.world.shim.tokens.check(answer["code"], kind="code"))
            assert record.subject.startswith("demo@demo/ROOT#")
            assert find(browser, "h1").text == "Got it"
        browser.get(page(server, f"{program.url}/"))
        decide(browser, "cancel")
        assert program.answer() == {"error": "access_denied", "state": "the-state"}
    finally:
        opened.__exit__(None, None, None)
    assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []


def test_nothing_is_fetched_beside_the_page_and_no_script_can_run(server: Background, browser: Chrome) -> None:
    """Not even one that got into the page somehow."""
    browser.get(page(server, OOB))
    assert browser.execute_script("return performance.getEntriesByType('resource').length") == 0
    assert browser.get_log("browser") == []
    browser.execute_script(
        "const script = document.createElement('script'); script.textContent = 'window.pwned = 1';"
        "document.body.append(script);"
    )
    assert browser.execute_script("return window.pwned") is None
    assert "Content Security Policy" in browser.get_log("browser")[0]["message"]


def test_markup_from_outside_is_text(server: Background, browser: Chrome) -> None:
    """In what the program asks for and in what was typed."""
    browser.get(page(server, OOB, login_hint=MARKUP, scope=f"{API}compute x<y>"))
    assert browser.execute_script("return window.pwned") is None
    assert MARKUP in find(browser, "main").text
    by_name(browser, MARKUP, MARKUP)
    decide(browser, "allow")
    assert browser.execute_script("return window.pwned") is None
    assert find(browser, "#username").get_attribute("value") == MARKUP
    assert MARKUP not in browser.page_source


def test_a_link_on_another_site_leads_to_a_page_that_works(server: Background, browser: Chrome, program: Site) -> None:
    """The cookie is not sent along with such a link; the form's is another matter. A second page does no harm."""
    url = page(server, f"{program.url}/").replace("127.0.0.1", "localhost")
    browser.get(url)
    with site("127.0.0.1", link=f"<!doctype html><a href='{url}'>Sign in</a>".replace("&", "&amp;")) as mail:
        browser.get(f"{mail.url}/link")
        find(browser, "a").click()
        WebDriverWait(browser, WAIT_SECONDS).until(become.presence_of_element_located((By.ID, "way-keys")))
        by_key(browser)
        decide(browser, "allow")
    assert program.answer()["state"] == "the-state"


def test_another_site_cannot_send_the_form(server: Background, browser: Chrome, program: Site) -> None:
    """With a request and a binding that the attacker got, and keys of the attacker's own."""
    url = page(server, f"{program.url}/").replace("127.0.0.1", "localhost")
    browser.get(url)
    form = find(browser, "form.keys")
    fields = {
        name: form.find_element(By.NAME, name).get_attribute("value") for name in ("request", "binding", "way")
    } | {"api_key": "demo-api-key", "secret_key": "demo-secret-key", "decision": "allow"}
    inputs = "".join(f"<input name='{name}' value='{value}'>" for name, value in fields.items())
    action = url.partition("?")[0]
    evil = f"<!doctype html><form method=post action='{action}'>{inputs}<button>Win a prize</button></form>"
    with site("127.0.0.1", evil=evil) as attacker:
        browser.get(f"{attacker.url}/evil")
        find(browser, "button").click()
        WebDriverWait(browser, WAIT_SECONDS).until(become.presence_of_element_located((By.ID, "alert")))
    assert find(browser, "#alert strong").text == "This page was out of date."
    assert program.silent


def test_another_site_cannot_frame_the_page(server: Background, browser: Chrome) -> None:
    """So that nobody presses Allow while they see something else."""
    url = page(server, OOB).replace("&", "&amp;")
    with site("127.0.0.1", evil=f"<!doctype html><iframe src='{url}'></iframe>") as attacker:
        browser.get(f"{attacker.url}/evil")
        browser.switch_to.frame(find(browser, "iframe"))
        assert browser.find_elements(By.CSS_SELECTOR, "form") == []
        browser.switch_to.default_content()
    assert "frame" in browser.get_log("browser")[0]["message"]


def test_over_tls_the_cookie_is_bound_to_the_host(server: Background, tmp_path: Path) -> None:
    """`__Host-`, which a browser takes only if all about it is right."""
    with (
        server.over_tls(tmp_path) as (url, _),
        site("localhost") as program,
        chromium(tmp_path / "profile", "--ignore-certificate-errors") as browser,
    ):
        browser.get(f"{url}/oauth2/auth?{query(redirect_uri=f'{program.url}/')}")
        [cookie] = browser.get_cookies()
        assert cookie["name"] == "__Host-gceshim-consent"
        assert (cookie["secure"], cookie["httpOnly"], cookie["sameSite"], cookie["path"]) == (True, True, "Strict", "/")
        by_key(browser)
        decide(browser, "allow")
        assert program.answer()["state"] == "the-state"


def test_the_keyboard_is_enough(server: Background, browser: Chrome, program: Site) -> None:
    """Tab goes through the page in the order of reading, each stop can be seen, and Enter allows."""
    browser.get(page(server, f"{program.url}/", scope=f"{API}compute unknown"))
    stops = []
    for _ in range(7):
        ActionChains(browser).send_keys(Keys.TAB).perform()
        focused = browser.switch_to.active_element
        seen = browser.execute_script(
            "const item = arguments[0].type == 'radio' ? arguments[0].nextElementSibling : arguments[0];"
            "return getComputedStyle(item).outlineStyle",
            focused,
        )
        stops.append((focused.get_attribute("id") or focused.get_attribute("value") or focused.tag_name, seen))
    assert [name for name, _ in stops] == [
        "summary", "way-password", "username", "password", "domain", "allow", "cancel",
    ]  # fmt: skip
    assert {seen for _, seen in stops} <= {"solid", "auto"}
    find(browser, "#way-password").send_keys(Keys.ARROW_RIGHT)
    ActionChains(browser).send_keys(Keys.TAB, "demo-api-key", Keys.TAB, "demo-secret-key", Keys.ENTER).perform()
    assert program.answer()["state"] == "the-state"


def test_a_mistake_is_said_where_it_is_and_what_was_typed_is_kept(server: Background, browser: Chrome) -> None:
    """Less the secrets; and one can type on at once."""
    browser.get(page(server, OOB))
    by_name(browser, "jo", "wrong")
    find(browser, "#domain").send_keys("research/physics")
    decide(browser, "allow")
    assert "does not accept this user name, password and domain" in find(browser, "#alert").text
    assert browser.title.startswith("Error: ")
    values = [find(browser, f"#{name}").get_attribute("value") for name in ("username", "password", "domain")]
    assert values == ["jo", "", "research/physics"]
    assert browser.switch_to.active_element.get_attribute("id") == "username"
    by_key(browser, "wrong", "wrong")
    decide(browser, "allow")
    assert find(browser, "#way-keys").is_selected()
    assert [find(browser, f"#{name}").get_attribute("value") for name in ("api_key", "secret_key")] == ["", ""]
    by_key(browser, "demo-api-key", "")
    decide(browser, "allow")
    assert find(browser, "#secret_key-mistake").text == "Please fill in: secret key."
    assert browser.switch_to.active_element.get_attribute("id") == "secret_key"


def test_a_code_is_copied_with_two_keys(server: Background, browser: Chrome) -> None:
    """And nothing else on the page with it."""
    browser.get(page(server, OOB))
    by_key(browser)
    decide(browser, "allow")
    box = find(browser, "#code")
    box.click()
    ActionChains(browser).key_down(Keys.CONTROL).send_keys("a").key_up(Keys.CONTROL).perform()
    selected = browser.execute_script(
        "const box = arguments[0]; return box.value.slice(box.selectionStart, box.selectionEnd)", box
    )
    assert server.run(server.world.shim.tokens.check(selected, kind="code")).subject.startswith("demo@")
    assert browser.execute_script("return arguments[0].scrollHeight <= arguments[0].clientHeight", box)


def test_assistive_technology_is_told_everything(server: Background, browser: Chrome) -> None:
    """Landmarks, one heading of the first rank, a name for each input, and what is wrong with it."""
    browser.get(page(server, OOB, scope=f"{API}compute unknown"))
    check_structure(browser)
    nodes = accessible_nodes(browser)
    names = [(role, name) for role, name, _ in nodes]
    for expected in [
        ("heading", "Allow access to your cloud?"),
        ("heading", "Google Cloud SDK (gcloud, gcutil) asks to"),
        ("group", "Sign in to CloudStack with"),
        ("radio", "User name"),
        ("radio", "API key"),
        ("textbox", "User name"),
        ("textbox", "Password"),
        ("textbox", "Domain (may be empty)"),
        ("button", "Allow"),
        ("button", "Cancel"),
    ]:
        assert expected in names
    assert ("textbox", "API key") not in names, "what is not shown is not told"
    by_name(browser, "jo", "")
    decide(browser, "allow")
    check_structure(browser)
    found = {(role, name): more for role, name, more in accessible_nodes(browser)}
    assert found["textbox", "Password"]["invalid"] == "true"
    assert found["textbox", "User name"]["invalid"] == "false"
    assert found["textbox", "User name"]["required"] is True
    assert any(role == "alert" for role, _ in found)
    described = find(browser, "#password").get_attribute("aria-describedby").split()
    assert described == ["alert", "password-mistake"]
    assert all(find(browser, f"#{name}").text for name in described)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_page_can_be_read_in_light_and_dark_and_on_a_phone(
    server: Background, browser: Chrome, scheme: str
) -> None:
    """Contrast AA of each text and of what marks an input, nothing that has to be scrolled sideways at 320 pixels."""
    prefer(browser, scheme)
    browser.get(page(server, OOB, scope=f"{API}compute " + "x" * 200, login_hint="jo@example.com"))
    find(browser, "summary").click()
    check_looks(browser)
    decide(browser, "allow")
    check_looks(browser)
    by_key(browser, "wrong", "wrong")
    decide(browser, "allow")
    check_looks(browser)
    by_key(browser)
    decide(browser, "allow")
    assert find(browser, "h1").text == "Copy this code"
    check_structure(browser)
    check_looks(browser)
    browser.get(page(server, "https://evil.example/"))
    check_structure(browser)
    check_looks(browser)


def check_structure(browser: Chrome) -> None:
    """What every page has."""
    assert find(browser, "html").get_attribute("lang") == "en"
    assert len(browser.find_elements(By.CSS_SELECTOR, "h1")) == 1
    nodes = accessible_nodes(browser)
    roles = [role for role, _, _ in nodes]
    assert [role for role in roles if role in {"banner", "main", "contentinfo"}] == ["banner", "main", "contentinfo"]
    assert [role for role, name, _ in nodes if role in {"textbox", "radio", "button", "form"} and not name] == []
    ids = [item.get_attribute("id") for item in browser.find_elements(By.CSS_SELECTOR, "[id]")]
    assert len(ids) == len(set(ids))


def check_looks(browser: Chrome) -> None:
    """In a large window and in one as small as a small phone."""
    assert faults_of_contrast(browser) == []
    for width in (320, 1100):
        resize(browser, width, 900, mobile=width == 320)
        assert browser.execute_script("return document.documentElement.scrollWidth") <= width
        small = browser.execute_script(
            "return [...document.querySelectorAll('button, .field input, .ways > label')]"
            ".map(item => item.getBoundingClientRect()).filter(box => box.height > 0 && box.height < 44).length"
        )
        assert small == 0
