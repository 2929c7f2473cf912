#include "mnistcnn/data/inflate.h"

#include <gtest/gtest.h>

#include <string>

#include "mnistcnn/common/error.h"

namespace mnistcnn::data {
namespace {

using common::FileError;
using Bytes = std::vector<std::uint8_t>;
constexpr std::size_t kPlenty = 1 << 20;

// Written by Python's zlib (gzip container): level 0, fixed codes (strategy Z_FIXED), dynamic codes at three
// levels.
constexpr const char* kStored =
    "1f8b0800000000000403011e00e1ff68616e647772697474656e2068616e647772697474656e206469676974733350e8"
    "ec1e000000";

constexpr const char* kFixed = "1f8b0800000000000403cb48cc4b292fca2c2949cd53c84062a764a667961403003350e8ec1e000000";

constexpr const char* kDynamic1 =
    "1f8b08000000000004035dd3596ac4301004d0abf808aa5eb490d304260cf3910492dc9f08ac322a7fba915bf5a45639"
    "1eafe7ebeff778ff7a1ce5f8fcfef9783bb017b18ab1176d15c75e74fe5ef76aacaae55ecd5575595b5735a46f5bd52a"
    "11faaa76493b5615a5ecdbe1a2992c077508690e0251250a2ee390e0b894ca049d96ba9e52ebda9f5637cd43ad57cd4f"
    "6fa8d7e88d90f5537f5e7174e96ff4a6491ea3379be49fe9ce3e55bdf36bd56febe96db7fef4b65b1e7afb2d3fbd43bd"
    "4eefd0f3717a51f4409d6014bd01a718d02b7392616a769a613a1473b6d77b729d22a77a4e9d5c83938dd43975ba5115"
    "1e84a3ea4398e7b6366ffa6ee292777d6671c987beca99f16c6545e541b901321e41b95991790acacd8bc883728b2213"
    "3b33aecd53e549b955fd2329b7a67b24e5d63555526e431d49b9dfe449b943cf6acecc19773e609127e5ee7a1f49b987"
    "de6052fe0f649b181ca4050000";

constexpr const char* kDynamic6 =
    "1f8b08000000000000035dd44b6ec3300c45d1ad7809123f928caea6408a22832640dbfda31df831be9e32b2f48e48a5"
    "6db7fbe7fdf7677b7fdcb6b67d3dbf3fdeb67e2ef6a318e7a21dc5fd5c747d3eced538aa96e76a1e55c7daa1b3b0ef3c"
    "aa0311d6515d48bb2b436b4014cd8893ae0736ef561644e965dc11bc9792cc9ea5e77a496d717f59dd9867d57d31bfbc"
    "41afc91b81f556dd5ceca7bc69c863f2e6447e9377d06bf28ecb7a79e7657f79e7254f75f7925fde9d5e9777e7fd78f5"
    "b7f142bd1adcd801af0e77b6cca3468866cffa8143e14277e714f97c4d1d5389dd9373ea35d783f0a8c11e7c0851f2c9"
    "7713255f7c66f19a6dbecaa8e16e94474d77bfbcf91a6f6b3c4372f3c654925b343a24b7a43c25b7c12f52729b3c2325"
    "b7c55429b9ed74a4e47e9167fd7f75de554afeff807946bd6c673fb29e76b08329f91f649b181ca4050000";

constexpr const char* kDynamic9 =
    "1f8b08000000000002035d94494ec4401443af9223d49f6a10a7416ad4ea052001f7179bb21367ebd4e057f64f3b1eaf"
    "e7ebeff778ff7a1cedf8fcfef9783bec2ada16f32afa16d7550c6cef5735b7ea75556bab216b3bee9273c756bb58985b"
    "9de276c1436b0241345738d059cae1e664112b46c625c68d948a69457a5d0f529f7a3e58c3d5cfe47ba97ff0a6f23a78"
    "3365bd33cda97982b75cfc38786b887f076f575e076fbfad07efb89d0fde71f3c3746ffec1bb9437c0bbf47d82f9367d"
    "d060c04d1308266c1a59242ba4cc51fca0a508405b688b629cad5357c0b6d29e067bdd153c59ecae8390241f3a3749f2"
    "a9639667b7752a93e56e4a9e6cb7dd669ef5f6a67780dca3a92b907b36e5589c20252f907bd71d05721f7a4739874e5d"
    "15c87d2947813c6ee4c5ff97e95b553f0758efe06487e6511cedd4040be4ff649b181ca4050000";

Bytes from_hex(const std::string& hex) {
  Bytes bytes;
  for (std::size_t i = 0; i + 1 < hex.size(); i += 2) {
    bytes.push_back(static_cast<std::uint8_t>(std::stoi(hex.substr(i, 2), nullptr, 16)));
  }
  return bytes;
}

std::string content(const Bytes& bytes, std::size_t most = kPlenty) {
  const Bytes result = gunzip(bytes, most);
  return {result.begin(), result.end()};
}

std::string long_text() {
  std::string text;
  for (int i = 0; i < 60; ++i) text += std::to_string(i * i) + " digits and " + std::to_string(i) + " more; ";
  return text;
}

std::string message(const Bytes& bytes, std::size_t most = kPlenty) {
  try {
    gunzip(bytes, most);
  } catch (const FileError& error) {
    return error.what();
  }
  return "no error";
}

constexpr const char* kShortText = "handwritten handwritten digits";

TEST(Gunzip, ReadsStoredFixedAndDynamicBlocks) {
  EXPECT_EQ(content(from_hex(kStored)), kShortText);
  EXPECT_EQ(content(from_hex(kFixed)), kShortText);
  for (const char* dynamic : {kDynamic1, kDynamic6, kDynamic9}) EXPECT_EQ(content(from_hex(dynamic)), long_text());
}

TEST(Gunzip, ReadsSeveralMembersAndZeroPadding) {
  Bytes bytes = from_hex(kFixed);
  const Bytes second = from_hex(kStored);
  bytes.insert(bytes.end(), second.begin(), second.end());
  bytes.resize(bytes.size() + 100);
  EXPECT_EQ(content(bytes), std::string(kShortText) + kShortText);
}

TEST(Gunzip, SkipsEveryOptionalHeaderField) {
  Bytes bytes = from_hex(kFixed);
  bytes[3] = 2 | 4 | 8 | 16;
  const Bytes fields{3, 0, 'x', 'y', 'z', 'n', 'a', 'm', 'e', 0, 'c', 0, 0x12, 0x34};
  bytes.insert(bytes.begin() + 10, fields.begin(), fields.end());
  EXPECT_EQ(content(bytes), kShortText);
}

TEST(Gunzip, NeverHoldsMoreThanAllowed) {
  EXPECT_EQ(content(from_hex(kDynamic6), long_text().size()), long_text());
  EXPECT_EQ(message(from_hex(kDynamic6), long_text().size() - 1),
            "the gzip data holds more than the expected " + std::to_string(long_text().size() - 1) + " bytes");
  EXPECT_NE(message(from_hex(kStored), 0), "no error");
}

TEST(Gunzip, HeadIsTheBeginning) {
  const Bytes head = gunzip_head(from_hex(kDynamic6), 20);
  EXPECT_EQ(std::string(head.begin(), head.end()), long_text().substr(0, 20));
  EXPECT_EQ(gunzip_head(from_hex(kFixed), 1000).size(), std::string(kShortText).size());
}

TEST(Gunzip, EveryTruncationIsNoticed) {
  for (const char* hex : {kStored, kFixed, kDynamic6}) {
    const Bytes whole = from_hex(hex);
    for (std::size_t size = 2; size < whole.size(); ++size) {
      const std::string text = message(Bytes(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size)));
      EXPECT_NE(text.find("truncated"), std::string::npos) << size << ": " << text;
    }
  }
}

TEST(Gunzip, SaysWhatIsWrong) {
  const auto changed = [](std::size_t at, std::uint8_t value) {
    Bytes bytes = from_hex(kStored);
    bytes.at(at) = value;
    return message(bytes);
  };
  EXPECT_EQ(message({}), "not gzip data: the first bytes are not 1f 8b");
  EXPECT_EQ(changed(2, 7), "damaged gzip data: a compression method other than deflate");
  EXPECT_EQ(changed(3, 0x20), "damaged gzip data: reserved header flags are set");
  EXPECT_EQ(changed(10, 7), "damaged gzip data: a block of an unknown type");
  EXPECT_EQ(changed(13, 0), "damaged gzip data: the length of a stored block and its complement differ");
  EXPECT_EQ(changed(20, 'x'), "damaged gzip data: the content's checksum (CRC-32) is wrong");
  Bytes length = from_hex(kStored);
  length.back() = 1;
  EXPECT_EQ(message(length), "damaged gzip data: the content's length is wrong");
  Bytes garbage = from_hex(kStored);
  garbage.push_back('x');
  EXPECT_EQ(message(garbage), "damaged gzip data: garbage after the end");
}

// The bits of a deflate stream, put together by hand after a gzip header.
class BitWriter {
 public:
  BitWriter& add(std::uint32_t value, int count) {
    for (int bit = 0; bit < count; ++bit, ++count_) {
      if (count_ % 8 == 0) bytes_.push_back(0);
      bytes_.back() = static_cast<std::uint8_t>(bytes_.back() | ((value >> bit) & 1U) << (count_ % 8));
    }
    return *this;
  }
  Bytes padded() const {
    Bytes bytes{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3};
    bytes.insert(bytes.end(), bytes_.begin(), bytes_.end());
    bytes.resize(bytes.size() + 64);
    return bytes;
  }

 private:
  Bytes bytes_;
  int count_ = 0;
};

TEST(Gunzip, RefusesImpossibleCodes) {
  EXPECT_EQ(message(BitWriter().add(5, 3).add(30, 5).add(0, 9).padded()),
            "damaged gzip data: a block announces more codes than there are");
  BitWriter crowded, sparse;
  crowded.add(5, 3).add(0, 5).add(0, 5).add(15, 4);
  sparse.add(5, 3).add(0, 5).add(0, 5).add(15, 4).add(1, 3);
  for (int i = 0; i < 19; ++i) crowded.add(1, 3);
  EXPECT_EQ(message(crowded.padded()), "damaged gzip data: a Huffman code has too many words");
  EXPECT_EQ(message(sparse.padded()), "damaged gzip data: a Huffman code is incomplete");
  // Fixed codes: length symbol 257 (0000001, the highest bit first) and distance 1 before there is any byte.
  EXPECT_EQ(message(BitWriter().add(3, 3).add(0x40, 7).add(0, 5).padded()),
            "damaged gzip data: a match reaches back before the beginning");
  // Length symbol 286 (11000110) exists in the fixed code and means nothing.
  EXPECT_EQ(message(BitWriter().add(3, 3).add(0x63, 8).padded()), "damaged gzip data: a length that does not exist");
}

}  // namespace
}  // namespace mnistcnn::data
