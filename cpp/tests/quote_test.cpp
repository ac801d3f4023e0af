#include "quote.hpp"

#include <doctest/doctest.h>

using poolfold::plain_path;
using poolfold::quote;

TEST_CASE("a name is quoted as Python's repr quotes it") {
  CHECK(quote("a.txt") == "'a.txt'");
  CHECK(quote("it's") == "\"it's\"");
  CHECK(quote("it's \"so\"") == "'it\\'s \"so\"'");
  CHECK(quote("a\\b\n\t\x01") == "'a\\\\b\\n\\t\\x01'");
  CHECK(quote("\xC3\xA9\xE2\x80\xA8") == "'\xC3\xA9\\u2028'");
  CHECK(quote("\xFF.bin") == "'\\udcff.bin'");        // a file name that is no UTF-8
  CHECK(quote("\xE2\x82") == "'\\udce2\\udc82'");      // cut short
}

TEST_CASE("a path is written as pathlib writes it") {
  CHECK(plain_path("a//b/./c/") == "a/b/c");
  CHECK(plain_path("/") == "/");
  CHECK(plain_path("//host/x") == "//host/x");
  CHECK(plain_path("///x") == "/x");
  CHECK(plain_path("../x/..") == "../x/..");
  CHECK(plain_path("") == ".");
}
