// SPDX-License-Identifier: Apache-2.0
#include "cli/image_tree.h"

#include <algorithm>
#include <string>
#include <vector>

#include "cli/containers.h"
#include "cli/units.h"

namespace caisson::cli {

namespace {

struct TreeRow {
  std::vector<std::string> cells;
  size_t name_width = 0;  // what is seen of cells[0]
};

std::string platform_name(const JsonValue& platform) {
  std::string text = platform.at("os").text() + "/" + platform.at("architecture").text();
  if (platform.at("variant").is_string() && !platform.at("variant").text().empty())
    text += "/" + platform.at("variant").text();
  return text;
}

std::string size_text(const JsonValue& size) { return human_size(static_cast<double>(size.as_int()), 3); }

void add_image(const JsonValue& image, std::vector<TreeRow>& rows) {
  std::vector<std::string> names;
  for (const JsonValue& tag : image.at("RepoTags").items()) names.push_back(tag.text());
  if (names.empty())
    for (const JsonValue& digest : image.at("RepoDigests").items())
      names.push_back(digest.text().substr(0, digest.text().find('@')));
  if (names.empty()) names.push_back("<untagged>");
  int64_t total = 0, content = 0;
  bool used = image.at("Containers").as_int() > 0;
  std::vector<TreeRow> below;
  const auto& manifests = image.at("Manifests").items();
  for (size_t i = 0; i < manifests.size(); ++i) {
    const JsonValue& manifest = manifests[i];
    const JsonValue& data = manifest.at("ImageData");
    std::string name = platform_name(data.at("Platform"));
    bool here = !data.at("Containers").items().empty();
    total += manifest.at("Size").at("Total").as_int();
    content += manifest.at("Size").at("Content").as_int();
    used = used || here;
    below.push_back(
        {{(i + 1 < manifests.size() ? "├─ " : "└─ ") + name, short_id(manifest.at("ID").text()),
          size_text(manifest.at("Size").at("Total")), size_text(manifest.at("Size").at("Content")), here ? "U" : ""},
         name.size() + 3});
  }
  if (total == 0) total = image.at("Size").as_int();
  for (size_t i = 0; i < names.size(); ++i) {
    TreeRow row{{names[i], "", "", "", ""}, names[i].size()};
    if (i + 1 == names.size())
      row.cells = {names[i], short_id(image.at("Id").text()), human_size(static_cast<double>(total), 3),
                   human_size(static_cast<double>(content), 3), used ? "U" : ""};
    rows.push_back(std::move(row));
  }
  rows.insert(rows.end(), below.begin(), below.end());
}

}  // namespace

void print_image_tree(const JsonValue& images, Output& out) {
  std::vector<TreeRow> rows = {{{"IMAGE", "ID", "DISK USAGE", "CONTENT SIZE", "EXTRA"}, 5}};
  for (const JsonValue& image : images.items()) {
    rows.push_back({});
    add_image(image, rows);
  }
  std::vector<size_t> widths(5);
  for (const TreeRow& row : rows)
    for (size_t i = 0; i < row.cells.size(); ++i)
      widths[i] = std::max(widths[i], i == 0 ? row.name_width : row.cells[i].size());
  for (const TreeRow& row : rows) {
    std::string line;
    for (size_t i = 0; i < row.cells.size(); ++i) {
      size_t width = i == 0 ? row.name_width : row.cells[i].size();
      std::string gap(widths[i] - width, ' ');
      // Sizes stand at the right, as numbers do.
      line += i == 2 || i == 3 ? gap + row.cells[i] : row.cells[i] + gap;
      line += "   ";
    }
    line.erase(line.find_last_not_of(' ') + 1);
    out.line(line);
  }
}

}  // namespace caisson::cli
